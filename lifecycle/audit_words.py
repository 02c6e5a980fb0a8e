"""The values of an entry of the audit log, for people: names instead of the codes that are kept."""

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from lifecycle.labels import ACTIONS, ROLES, STATES, WEBHOOK_KINDS, Label, label, weekdays

#: What is kept beside a line -> its name. What has none here is shown as it is.
NAMES: Final[dict[str, Label]] = {
    "action": _("action"),
    "amount": _("amount"),
    "at": _("time"),
    "budget": _("budget"),
    "days": _("days"),
    "events": _("events"),
    "fields": _("fields"),
    "forbid_at": pgettext_lazy("of a budget, percent", "no new VMs from"),
    "from": _("from"),
    "image": _("image"),
    "machine_type": _("machine type"),
    "month": _("month"),
    "notice_hours": _("notice (hours)"),
    "on": pgettext_lazy("a switch", "on"),
    "percent": _("percent"),
    "projects": _("projects"),
    "reason": _("reason"),
    "role": _("role"),
    "spent": _("spent"),
    "state": _("state"),
    "suspend_at": pgettext_lazy("of a budget, percent", "suspends from"),
    "thresholds": _("thresholds"),
    "time_zone": _("time zone"),
    "to": _("to"),
    "webhook": _("webhook"),
}
#: Which values are codes, and what they stand for.
_CODES: Final[dict[str, dict[str, Label]]] = {
    "action": ACTIONS,
    "events": WEBHOOK_KINDS,
    "role": ROLES,
    "state": STATES,
}
#: Where a value leads, not what it says.
_LEFT_OUT: Final = frozenset({"operation"})


def told(details: Mapping[str, Any]) -> str:
    """What was, an arrow, what is; else each value under its name."""
    if set(details) == {"before", "after"}:
        return f"{_value('role', details['before'])} → {_value('role', details['after'])}"
    shown = [(NAMES.get(key, key), _value(key, value)) for key, value in details.items() if key not in _LEFT_OUT]
    return ", ".join(gettext("%(name)s: %(value)s") % {"name": name, "value": value} for name, value in shown)


def _value(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in sorted(value.items())) or "–"
    if isinstance(value, list):
        return ", ".join(_value(key, each) for each in value) or "–"
    text = str(value)
    if text in ("", "None"):
        return "–"
    if text in ("True", "False"):
        return gettext("yes") if text == "True" else gettext("no")
    if key == "days" and text.isdecimal():
        return weekdays(text)
    if text in _CODES.get(key, {}):
        name = label(_CODES[key], text)
        return name.upper() if key == "state" else name[:1].lower() + name[1:]
    return text.strip("[]") if key == "thresholds" else text
