"""Names of states, actions, steps and the like, in the reader's language."""

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

Label = str | Promise

STATES: dict[str, Label] = {
    "PROVISIONING": _("Provisioning"),
    "STAGING": _("Staging"),
    "RUNNING": pgettext_lazy("state of a VM", "Running"),
    "STOPPING": _("Stopping"),
    "REPAIRING": _("Repairing"),
    "TERMINATED": _("Terminated"),
    "SUSPENDING": _("Suspending"),
    "SUSPENDED": _("Suspended"),
}

#: What each state means, for the title of its badge.
MEANINGS: dict[str, Label] = {
    "PROVISIONING": _("Capacity is being reserved and a host chosen."),
    "STAGING": _("Disk, network and settings are being prepared for the boot."),
    "RUNNING": _("Booting or running."),
    "STOPPING": _("Being stopped."),
    "REPAIRING": _("Not usable: an internal error, or its host does not answer."),
    "TERMINATED": _("Off. It can be started or deleted."),
    "SUSPENDING": _("Its memory is being saved."),
    "SUSPENDED": _("Its memory is on disk. It can be resumed for 60 days."),
}

ACTIONS: dict[str, Label] = {
    "create": _("Create"),
    "start": pgettext_lazy("action", "Start"),
    "stop": pgettext_lazy("action", "Stop"),
    "reset": pgettext_lazy("action", "Reset"),
    "suspend": pgettext_lazy("action", "Suspend"),
    "resume": pgettext_lazy("action", "Resume"),
    "expire": _("Expire"),
    "repair": _("Repair"),
    "migrate": _("Migrate"),
    "guest_shutdown": _("Shut down from inside"),
    "maintenance_stop": _("Stop for maintenance"),
    "crash": _("Crash"),
    "host_error": _("Host error"),
    "observed_start": _("Started outside"),
    "observed_save": _("Saved outside"),
    "adopt": _("Adopt"),
    "delete": pgettext_lazy("action", "Delete"),
}

ACTION_ICONS = {
    "create": "plus",
    "start": "play",
    "stop": "square",
    "reset": "rotate-ccw",
    "suspend": "pause",
    "resume": "play",
    "delete": "trash-2",
}

ASKERS: dict[str, Label] = {
    "user": _("a person"),
    "schedule": _("a schedule"),
    "repair": _("the repair"),
    "policy": _("a policy"),
    "timer": _("a timer"),
    "observer": _("the watcher"),
    "operator": _("an operator"),
    "guest": _("the guest itself"),
}

STEPS: dict[str, Label] = {
    "reserve_capacity": _("Reserve capacity on a host"),
    "prepare_network": _("Prepare the network"),
    "prepare_image": _("Bring the image to the host"),
    "prepare_disk": _("Make the disk"),
    "write_seed": _("Write the guest's settings"),
    "define_domain": _("Define the machine"),
    "start_domain": _("Start the machine"),
    "ask_guest": _("Ask the guest to shut down"),
    "await_shutdown": _("Wait for the guest"),
    "power_off": _("Power off"),
    "release_capacity": _("Give capacity back"),
    "reset_domain": _("Reset the machine"),
    "save_memory": _("Save the memory"),
    "restore_memory": _("Restore the memory"),
    "discard_memory": _("Drop the saved memory"),
    "look_at_domain": _("Look at the machine"),
    "await_turn": _("Wait before the next restart"),
    "restore_definition": _("Define the machine again"),
    "remove_domain": _("Remove the machine"),
    "remove_disk": _("Remove the disk"),
    "remove_seed": _("Remove settings and logs"),
    "release_address": _("Give the address back"),
}

STEP_STATUSES: dict[str, Label] = {
    "waiting": _("waiting"),
    "running": _("under way"),
    "done": _("done"),
    "failed": _("failed"),
    "undone": _("undone"),
    "skipped": _("skipped"),
}

STEP_ICONS = {
    "waiting": "circle",
    "running": "loader-circle",
    "done": "circle-check",
    "failed": "circle-x",
    "undone": "undo-2",
    "skipped": "circle-minus",
}

METRICS: dict[str, Label] = {
    "vms": _("VMs"),
    "vcpus": _("vCPUs"),
    "memory_mib": _("Memory"),
    "disk_gib": _("Disk"),
}

ROLES: dict[str, Label] = {
    "owner": _("Owner"),
    "operator": pgettext_lazy("role", "Operator"),
    "viewer": _("Viewer"),
}

ROLE_MEANINGS: dict[str, Label] = {
    "owner": _("everything, members included"),
    "operator": _("creates, runs and deletes VMs"),
    "viewer": _("looks, and changes nothing"),
}


def label(table: dict[str, Label], key: str) -> str:
    """The name of `key`; a key without a name is shown readable."""
    found = table.get(str(key))
    return str(found) if found is not None else str(key).replace("_", " ").capitalize()


def error_text(error: dict[str, Any] | None) -> str:
    """An operation's error in the reader's language."""
    if not error:
        return ""
    template = str(error.get("template") or "")
    if template:
        try:
            return gettext(template) % (error.get("params") or {})
        except (KeyError, TypeError, ValueError):
            pass
    return str(error.get("message") or error.get("code") or "")
