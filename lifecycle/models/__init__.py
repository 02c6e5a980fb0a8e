"""Rows, constraints and who may see them. Only `lifecycle.services` writes."""

from lifecycle.models.accounts import User
from lifecycle.models.alerts import Alert, AlertDelivery
from lifecycle.models.consoles import ConsoleKind, ConsoleSession, ConsoleTicket, SerialChunk
from lifecycle.models.findings import Finding
from lifecycle.models.fleet import Host, HostLease, MachineType, Reservation, Zone
from lifecycle.models.history import Event, Transition
from lifecycle.models.images import Image
from lifecycle.models.metering import MeteringInterval
from lifecycle.models.networks import Address, Network
from lifecycle.models.operations import Operation, OperationStep
from lifecycle.models.projects import Invitation, Membership, Project, Quota
from lifecycle.models.repairs import Cleanup, Repair, RepairEntry
from lifecycle.models.rounds import Round
from lifecycle.models.usage import HostUsage, VMUsage
from lifecycle.models.vms import VM, Disk, SerialLog

__all__ = [
    "VM",
    "Address",
    "Alert",
    "AlertDelivery",
    "Cleanup",
    "ConsoleKind",
    "ConsoleSession",
    "ConsoleTicket",
    "Disk",
    "Event",
    "Finding",
    "Host",
    "HostLease",
    "HostUsage",
    "Image",
    "Invitation",
    "MachineType",
    "Membership",
    "MeteringInterval",
    "Network",
    "Operation",
    "OperationStep",
    "Project",
    "Quota",
    "Repair",
    "RepairEntry",
    "Reservation",
    "Round",
    "SerialChunk",
    "SerialLog",
    "Transition",
    "User",
    "VMUsage",
    "Zone",
]
