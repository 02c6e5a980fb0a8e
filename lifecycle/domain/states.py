"""The eight lifecycle states of a VM and the groups of them that rules speak of.

Source: the Compute Engine instance lifecycle. Every group is walked by a test, state by state,
so that a new state cannot be forgotten in one of them.
"""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a VM is in its life. The value is what the API, the database and the browser see."""

    PROVISIONING = "PROVISIONING"
    STAGING = "STAGING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    REPAIRING = "REPAIRING"
    TERMINATED = "TERMINATED"
    SUSPENDING = "SUSPENDING"
    SUSPENDED = "SUSPENDED"


class Power(StrEnum):
    """What the hypervisor last reported of a domain; kept apart from the lifecycle state."""

    UNKNOWN = "UNKNOWN"  # never seen, or its host does not answer
    ABSENT = "ABSENT"  # the host answers and knows no such domain
    OFF = "OFF"  # defined, not running, no saved memory
    SAVED = "SAVED"  # defined, not running, with saved memory (libvirt: managed save)
    ON = "ON"  # executing, or about to
    PAUSED = "PAUSED"  # vCPUs held: by an I/O error, by an operator
    CRASHED = "CRASHED"  # the guest panicked or QEMU died


#: States a VM rests in: nothing is under way unless an operation says so.
STABLE: Final = frozenset({State.RUNNING, State.TERMINATED, State.SUSPENDED})

#: States that must be left by themselves; a VM that stays in one is somebody's alert.
TRANSITIONAL: Final = frozenset({State.PROVISIONING, State.STAGING, State.STOPPING, State.SUSPENDING, State.REPAIRING})

#: States that hold vCPU and memory, on the host and in the quota (LIFECYCLE: "Resources held").
HOLDS_COMPUTE: Final = frozenset(
    {
        State.PROVISIONING,
        State.STAGING,
        State.RUNNING,
        State.STOPPING,
        State.REPAIRING,
        State.SUSPENDING,
    }
)

#: Every state holds its disks and addresses: they go with the VM only.
HOLDS_STORAGE: Final = frozenset(State)

#: States in which vCPU time is billed.
VCPU_BILLED: Final = frozenset({State.RUNNING})

#: States in which memory is billed (SUSPENDED at the storage rate).
MEMORY_BILLED: Final = frozenset({State.RUNNING, State.SUSPENDING, State.SUSPENDED})

#: States in which disks, addresses and snapshots are billed: all but REPAIRING.
STORAGE_BILLED: Final = frozenset(State) - {State.REPAIRING}

#: States that count for the service level agreement.
IN_SLA: Final = frozenset({State.RUNNING})

#: States in which the guest executes, or may.
GUEST_MAY_RUN: Final = frozenset({State.STAGING, State.RUNNING, State.STOPPING, State.SUSPENDING, State.REPAIRING})
