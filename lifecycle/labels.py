"""Names of states, actions, steps and the like, and kept texts, in the reader's language.

Beside the layers, because pages, admin and template tags all speak by it; it knows the domain alone.
"""

from datetime import timedelta
from typing import Any

from django.template.defaultfilters import floatformat
from django.utils import timezone
from django.utils.dates import WEEKDAYS_ABBR
from django.utils.functional import Promise
from django.utils.timesince import timesince
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.errors import DomainError
from lifecycle.domain.text import taken_apart

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

#: What people can be told of, and what is meant by it.
NOTIFICATIONS: dict[str, tuple[Label, Label]] = {
    "operation_failed": (_("A request of mine failed"), _("A start, stop, creation or the like that you asked for.")),
    "repair_opened": (_("A VM is in repair"), _("It is not usable: it crashed, or its host does not answer.")),
    "repair_closed": (_("A repair is over"), _("The VM runs again, or stays off.")),
    "suspension_ending": (_("A suspension ends soon"), _("A week before the saved memory is discarded.")),
    "invited": (_("I am invited"), _("To a project, by one of its owners.")),
    "budget": (_("A budget was reached"), _("A project spent so much of it that you wanted to be told.")),
    "schedule": (
        _("A schedule did not do its work"),
        _("Its time was missed, or the VM could not be started or stopped."),
    ),
    "maintenance": (
        _("Maintenance is announced"),
        _("Of a host with VMs of your projects; or it is cancelled."),
    ),
    "membership": (_("My role changed"), _("An owner changed your role, or took you out of a project.")),
}

#: What the audit log tells of, by its code; a code without a name here is shown as it is.
AUDIT: dict[str, Label] = {
    "vm.create": _("VM created"),
    "vm.start": _("VM started"),
    "vm.stop": _("VM stopped"),
    "vm.reset": _("VM reset"),
    "vm.suspend": _("VM suspended"),
    "vm.resume": _("VM resumed"),
    "vm.delete": _("VM deleted"),
    "vm.protection": _("Deletion protection changed"),
    "vm.labels": _("Labels changed"),
    "vm.notes": _("Notes changed"),
    "project.create": _("Project created"),
    "member.invite": _("Person invited"),
    "member.join": _("Person joined"),
    "member.revoke": _("Invitation taken back"),
    "member.role": _("Role changed"),
    "member.remove": _("Member removed"),
    "user.login": _("Signed in"),
    "user.login_failed": _("Sign-in failed"),
    "user.logout": _("Signed out"),
    "user.password": _("Password changed"),
    "user.mfa": _("Two-factor sign-in changed"),
    "api.call": _("API called"),
    "token.create": _("Access token made"),
    "token.revoke": _("Access token revoked"),
    "webhook.create": _("Webhook made"),
    "webhook.switch": _("Webhook switched on or off"),
    "webhook.remove": _("Webhook removed"),
    "vm.settings": _("Settings changed"),
    "schedule.add": _("Schedule added"),
    "schedule.remove": _("Schedule removed"),
    "schedule.skip": _("Schedule skipped once"),
    "idle.dismiss": _("Hint of an idle VM dismissed"),
    "budget.create": _("Budget made"),
    "budget.change": _("Budget changed"),
    "budget.remove": _("Budget removed"),
    "budget.threshold": _("Budget reached a threshold"),
    "budget.notice": _("Budget will suspend VMs"),
    "budget.suspend": _("VM suspended by a budget"),
    "maintenance.announce": _("Maintenance announced"),
    "maintenance.cancel": _("Maintenance cancelled"),
    "row.add": _("Added in the administration"),
    "row.change": _("Changed in the administration"),
    "row.delete": _("Deleted in the administration"),
}

WEBHOOK_KINDS: dict[str, Label] = {
    "operation.ended": _("An operation ended"),
    "vm.state_changed": _("A VM changed its state"),
    "repair.opened": _("A VM went into repair"),
    "webhook.test": _("Test"),
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

#: Kinds of moments in the flight recorder.
MOMENTS: dict[str, Label] = {
    "transition": _("State"),
    "operation": _("Operation"),
    "step": _("Step"),
    "event": _("libvirt"),
    "repair": pgettext_lazy("moment", "Repair"),
    "console": _("Console"),
    "config": _("Settings"),
}

MOMENT_ICONS = {
    "transition": "arrow-right-left",
    "operation": "activity",
    "step": "list-checks",
    "event": "radio",
    "repair": "wrench",
    "console": "terminal",
    "config": "settings-2",
}

SETTINGS: dict[str, Label] = {
    "name": _("name"),
    "machine_type": _("machine type"),
    "vcpus": _("vCPUs"),
    "memory_mib": _("memory (MiB)"),
    "cpu_quota_percent": _("CPU limit (% of one core, per vCPU)"),
    "automatic_restart": _("automatic restart"),
    "on_host_maintenance": _("at maintenance of its host"),
    "host_error_timeout_seconds": _("host error timeout (s)"),
    "stop_grace_seconds": _("grace period at stop (s)"),
    "deletion_protection": _("deletion protection"),
    "labels": _("labels"),
    "notes": _("notes"),
    "tags": _("tags"),
    "metadata": _("metadata"),
    "next_cdrom": _("CD at the next start"),
    "use_project_keys": _("keys of the project"),
    "ssh_keys": _("SSH keys"),
    "startup_script": _("startup script"),
    "user_data": _("user data"),
}

CHARTS: dict[str, Label] = {
    "cpu": _("CPU"),
    "memory": _("Memory in use"),
    "disk": pgettext_lazy("chart", "Disk"),
    "network": pgettext_lazy("chart", "Network"),
    "disk_read": pgettext_lazy("chart", "Read"),
    "disk_write": pgettext_lazy("chart", "Written"),
    "net_in": pgettext_lazy("chart", "Received"),
    "net_out": pgettext_lazy("chart", "Sent"),
}

SPANS: dict[str, Label] = {
    "live": pgettext_lazy("span of time", "10 minutes"),
    "hour": pgettext_lazy("span of time", "Hour"),
    "day": pgettext_lazy("span of time", "Day"),
    "month": pgettext_lazy("span of time", "Month"),
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
    plain = str(error.get("message") or error.get("code") or "")
    return filled(template, error.get("params") or {}, plain) if template else retold(plain)


def filled(template: str, params: dict[str, Any], plain: str = "") -> str:
    """A kept template with its values in the reader's language; `plain`, or the template, when they do not fit."""
    try:
        return _fill(template, params)
    except (KeyError, TypeError, ValueError):
        return retold(plain or template)


def refusal_text(error: DomainError) -> str:
    """A refusal in the reader's language."""
    return _fill(error.message, error.params) if error.params else gettext(error.message)


def _fill(template: str, params: dict[str, Any]) -> str:
    """The template in the reader's language with its values; states, actions and the like by their names."""
    return gettext(template) % {key: _value(key, value) for key, value in params.items()}


def _value(key: str, value: Any) -> Any:
    table = _VALUES.get(key)
    if table is None or not isinstance(value, str):
        return value
    known = [word for word in value.split(", ") if word in table]
    if not known:
        return value
    return ", ".join(_in_text(table, word) if word in table else word for word in value.split(", "))


def _in_text(table: dict[str, Label], word: str) -> str:
    """States stand in capitals as on their badges, actions and steps small as in the middle of a sentence."""
    name = label(table, word)
    if table is STATES:
        return name.upper()
    return name[:1].lower() + name[1:] if table in (ACTIONS, STEPS, ROLES) else name


def retold(text: str) -> str:
    """A text that was kept in English, in the reader's language; one that nobody knows as it is."""
    told = gettext(text) if text else ""
    if told != text:
        return told
    if found := taken_apart(text):
        template, values = found
        return gettext(template) % {key: retold(value) for key, value in values.items()}
    return "; ".join(retold(part) for part in text.split("; ")) if "; " in text else text


def lasted(seconds: float) -> str:
    """A length of time: to the second up to ten minutes, then in two units."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return gettext("%(n)s s") % {"n": floatformat(seconds, -1)}
    if seconds < 60:
        return gettext("%(n)s s") % {"n": int(seconds)}
    if seconds < 600:
        return gettext("%(minutes)s min %(seconds)s s") % {"minutes": int(seconds) // 60, "seconds": int(seconds) % 60}
    now = timezone.now()
    return timesince(now - timedelta(seconds=seconds), now, depth=2)


def sized(amount: int) -> str:
    """Bytes in the unit people use, of 1024 each: 301 B, 18 MiB. Django's own filter calls these KB and MB."""
    # Translators: keep the order and the spaces between.
    units, value = pgettext("sizes", "B KiB MiB GiB TiB").split(), float(amount)
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{floatformat(value, -1)}\u00a0{units[0]}"


def weekdays(digits: str) -> str:
    """Days of the week of a schedule, digits from 0 for Monday: a row of them by its ends."""
    if digits == "0123456":
        return gettext("every day")
    names = [str(WEEKDAYS_ABBR[int(digit)]) for digit in digits]
    in_a_row = len(digits) > 2 and int(digits[-1]) - int(digits[0]) == len(digits) - 1
    return f"{names[0]} – {names[-1]}" if in_a_row else ", ".join(names)


#: Metrics in the middle of a sentence, with their units.
_METRICS_IN_TEXT: dict[str, Label] = {
    "vms": _("VMs"),
    "vcpus": _("vCPUs"),
    "memory_mib": _("memory (MiB)"),
    "disk_gib": _("disk (GiB)"),
}

#: The values of refusals that are names, by parameter.
_VALUES: dict[str, dict[str, Label]] = {
    "action": ACTIONS,
    "running": ACTIONS,
    "possible": ACTIONS,
    "state": STATES,
    "found": STATES,
    "expected": STATES,
    "metric": _METRICS_IN_TEXT,
    "role": ROLES,
    "step": STEPS,
    "asker": ASKERS,
}
