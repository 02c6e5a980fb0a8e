"""Rows, constraints and who may see them. Only `lifecycle.services` writes."""

from lifecycle.models.accounts import GroupGrant, User
from lifecycle.models.alerts import Alert, AlertDelivery
from lifecycle.models.audit import AuditEntry
from lifecycle.models.budgets import Budget, BudgetAlert
from lifecycle.models.changes import Change
from lifecycle.models.consoles import ConsoleKind, ConsoleSession, ConsoleTicket, SerialChunk
from lifecycle.models.findings import Finding
from lifecycle.models.fleet import Host, HostLease, MachineType, Reservation, Zone
from lifecycle.models.flight import ConfigChange, LibvirtEvent
from lifecycle.models.history import Event, Transition
from lifecycle.models.images import Image, ImageImport
from lifecycle.models.invoices import CreditUse, Invoice, InvoiceLine, Numbering, Payment, Reminder
from lifecycle.models.keys import SSHKey
from lifecycle.models.maintenance import Maintenance
from lifecycle.models.metering import ImageChange, ImageInterval, MeteringInterval
from lifecycle.models.networks import Address, Network
from lifecycle.models.operations import Operation, OperationStep
from lifecycle.models.people import Notification, SavedView
from lifecycle.models.prices import (
    BillingAccount,
    CommittedUse,
    Credit,
    Price,
    PriceList,
    PromotionCode,
    Seller,
    TaxRate,
)
from lifecycle.models.projects import Invitation, Membership, Project, Quota
from lifecycle.models.repairs import Cleanup, Repair, RepairEntry
from lifecycle.models.revenue import RevenueDay
from lifecycle.models.rounds import Round
from lifecycle.models.schedules import IdleHint, Schedule, ScheduleRun
from lifecycle.models.tokens import ApiToken
from lifecycle.models.usage import HostUsage, VMUsage
from lifecycle.models.vms import VM, Disk, SerialLog
from lifecycle.models.webhooks import Webhook, WebhookDelivery

__all__ = [
    "VM",
    "Address",
    "Alert",
    "AlertDelivery",
    "ApiToken",
    "AuditEntry",
    "BillingAccount",
    "Budget",
    "BudgetAlert",
    "Change",
    "Cleanup",
    "CommittedUse",
    "ConfigChange",
    "ConsoleKind",
    "ConsoleSession",
    "ConsoleTicket",
    "Credit",
    "CreditUse",
    "Disk",
    "Event",
    "Finding",
    "GroupGrant",
    "Host",
    "HostLease",
    "HostUsage",
    "IdleHint",
    "Image",
    "ImageChange",
    "ImageImport",
    "ImageInterval",
    "Invitation",
    "Invoice",
    "InvoiceLine",
    "LibvirtEvent",
    "MachineType",
    "Maintenance",
    "Membership",
    "MeteringInterval",
    "Network",
    "Notification",
    "Numbering",
    "Operation",
    "OperationStep",
    "Payment",
    "Price",
    "PriceList",
    "Project",
    "PromotionCode",
    "Quota",
    "Reminder",
    "Repair",
    "RepairEntry",
    "Reservation",
    "RevenueDay",
    "Round",
    "SSHKey",
    "SavedView",
    "Schedule",
    "ScheduleRun",
    "Seller",
    "SerialChunk",
    "SerialLog",
    "TaxRate",
    "Transition",
    "User",
    "VMUsage",
    "Webhook",
    "WebhookDelivery",
    "Zone",
]
