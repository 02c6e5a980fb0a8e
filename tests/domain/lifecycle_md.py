"""The specification's tables, copied out by hand: the independent truth against which the code's table is held.

Source: LIFECYCLE.md. Nothing here is imported from `lifecycle.domain`, and names are plain strings.
"""

from typing import NamedTuple

STATES = (
    "PROVISIONING",
    "STAGING",
    "RUNNING",
    "STOPPING",
    "REPAIRING",
    "TERMINATED",
    "SUSPENDING",
    "SUSPENDED",
)


class Facts(NamedTuple):
    """One row of the table of states."""

    holds_compute: bool
    vcpu_billed: bool
    memory_billed: bool
    storage_billed: bool
    in_sla: bool


#: Resources held | vCPU billed | RAM billed | disks, addresses, snapshots billed | in the SLA
STATE_FACTS = {
    "PROVISIONING": Facts(True, False, False, True, False),
    "STAGING": Facts(True, False, False, True, False),
    "RUNNING": Facts(True, True, True, True, True),
    "STOPPING": Facts(True, False, False, True, False),
    "REPAIRING": Facts(True, False, False, False, False),
    "TERMINATED": Facts(False, False, False, True, False),
    "SUSPENDING": Facts(True, False, True, True, False),
    "SUSPENDED": Facts(False, False, True, True, False),
}

#: action -> states it may be asked for in. Empty: it starts from nothing.
FROM = {
    "create": set(),
    "start": {"TERMINATED"},
    "stop": {"RUNNING", "PROVISIONING", "STAGING", "REPAIRING"},
    "reset": {"RUNNING"},
    "suspend": {"RUNNING"},
    "resume": {"SUSPENDED"},
    "expire": {"SUSPENDED"},
    "repair": {"STAGING", "RUNNING", "SUSPENDING", "STOPPING"},
    "migrate": {"RUNNING", "TERMINATED", "SUSPENDED"},
    "guest_shutdown": {"RUNNING"},
    "maintenance_stop": {"RUNNING"},
    "crash": {"RUNNING"},
    "host_error": {"RUNNING"},
    "observed_start": {"TERMINATED"},
    "observed_save": {"RUNNING"},
    "adopt": set(),
    "delete": {"PROVISIONING", "STAGING", "RUNNING", "STOPPING", "REPAIRING", "TERMINATED", "SUSPENDED"},
}

#: action -> every change of state it makes, on its way, at its end and when it fails. Being born and being gone
#: are no pairs.
PAIRS = {
    "create": {("PROVISIONING", "STAGING"), ("STAGING", "RUNNING")},
    "start": {
        ("TERMINATED", "PROVISIONING"),
        ("PROVISIONING", "STAGING"),
        ("STAGING", "RUNNING"),
        ("PROVISIONING", "TERMINATED"),
        ("STAGING", "TERMINATED"),
    },
    "stop": {
        ("RUNNING", "STOPPING"),
        ("PROVISIONING", "STOPPING"),
        ("STAGING", "STOPPING"),
        ("REPAIRING", "STOPPING"),
        ("STOPPING", "TERMINATED"),
        ("STOPPING", "SUSPENDED"),
    },
    "reset": {("RUNNING", "REPAIRING")},
    "suspend": {("RUNNING", "SUSPENDING"), ("SUSPENDING", "SUSPENDED"), ("SUSPENDING", "RUNNING")},
    "resume": {
        ("SUSPENDED", "PROVISIONING"),
        ("PROVISIONING", "STAGING"),
        ("STAGING", "RUNNING"),
        ("PROVISIONING", "SUSPENDED"),
        ("STAGING", "SUSPENDED"),
    },
    "expire": {("SUSPENDED", "STOPPING"), ("STOPPING", "TERMINATED")},
    "repair": {
        ("STAGING", "REPAIRING"),
        ("RUNNING", "REPAIRING"),
        ("SUSPENDING", "REPAIRING"),
        ("STOPPING", "REPAIRING"),
        ("REPAIRING", "STAGING"),
        ("REPAIRING", "RUNNING"),
        ("REPAIRING", "SUSPENDING"),
        ("REPAIRING", "STOPPING"),
        ("REPAIRING", "TERMINATED"),
        ("STOPPING", "TERMINATED"),  # with its QEMU dead, a stop has reached what it was asked for
    },
    "migrate": set(),
    "guest_shutdown": {("RUNNING", "STOPPING"), ("STOPPING", "TERMINATED")},
    "maintenance_stop": {("RUNNING", "STOPPING"), ("STOPPING", "TERMINATED")},
    "crash": {("RUNNING", "REPAIRING"), ("REPAIRING", "RUNNING"), ("REPAIRING", "TERMINATED")},
    "host_error": {("RUNNING", "REPAIRING"), ("REPAIRING", "RUNNING"), ("REPAIRING", "TERMINATED")},
    "observed_start": {("TERMINATED", "RUNNING")},
    "observed_save": {("RUNNING", "SUSPENDED")},
    "adopt": set(),
    "delete": {
        ("PROVISIONING", "STOPPING"),
        ("STAGING", "STOPPING"),
        ("RUNNING", "STOPPING"),
        ("REPAIRING", "STOPPING"),
        ("TERMINATED", "STOPPING"),
        ("SUSPENDED", "STOPPING"),
    },
}

ASKED_BY = {
    "create": {"user"},
    "start": {"user", "schedule", "repair"},
    "stop": {"user", "schedule"},
    "reset": {"user"},
    "suspend": {"user", "policy"},  # idle policy, budget
    "resume": {"user"},
    "expire": {"timer"},
    "repair": {"observer", "operator"},
    "migrate": {"operator"},  # maintenance is an operator's
    "guest_shutdown": {"guest"},
    "maintenance_stop": {"operator"},
    "crash": {"observer"},
    "host_error": {"observer"},
    "observed_start": {"observer"},
    "observed_save": {"observer"},
    "adopt": {"operator"},
    "delete": {"user"},
}

#: "Stop preempts a create, start, resume or repair under way; delete preempts every operation but suspend."
#: A delete under way is what a second delete asks for: it is refused, not begun anew.
PREEMPTS = {
    "stop": {"create", "start", "resume", "repair"},
    "delete": set(FROM) - {"suspend", "delete"},
}
