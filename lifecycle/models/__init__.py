"""Rows, constraints and who may see them. Only `lifecycle.services` writes."""

from lifecycle.models.accounts import User
from lifecycle.models.fleet import Host, HostLease, MachineType, Reservation, Zone
from lifecycle.models.history import Event, Transition
from lifecycle.models.images import Image
from lifecycle.models.networks import Address, Network
from lifecycle.models.operations import Operation, OperationStep
from lifecycle.models.projects import Invitation, Membership, Project, Quota
from lifecycle.models.vms import VM, Disk, SerialLog

__all__ = [
    "VM",
    "Address",
    "Disk",
    "Event",
    "Host",
    "HostLease",
    "Image",
    "Invitation",
    "MachineType",
    "Membership",
    "Network",
    "Operation",
    "OperationStep",
    "Project",
    "Quota",
    "Reservation",
    "SerialLog",
    "Transition",
    "User",
    "Zone",
]
