"""`{% load timeline %}`: kinds of moments, differences of settings."""

import difflib
from typing import Any

from django import template
from django.template.defaultfilters import floatformat
from django.utils.translation import gettext as _

from lifecycle import labels
from lifecycle.models import ConfigChange, LibvirtEvent, Repair
from lifecycle.templatetags.portal import seconds_long

register = template.Library()


@register.filter
def kind_name(kind: str) -> str:
    """The name of a kind of moment."""
    return labels.label(labels.MOMENTS, kind)


@register.filter
def kind_icon(kind: str) -> str:
    """The icon of a kind of moment."""
    return labels.MOMENT_ICONS.get(kind, "circle")


@register.filter
def lasted(repair: Repair) -> str:
    """How long a closed repair took."""
    return seconds_long(int((repair.closed_at - repair.opened_at).total_seconds())) if repair.closed_at else ""


@register.filter
def delay(event: LibvirtEvent) -> str:
    """How long after it was told an event was written; empty below a tenth of a second."""
    seconds = (event.recorded_at - event.occurred_at).total_seconds()
    return _("%(n)s s") % {"n": floatformat(seconds, 1)} if seconds >= 0.1 else ""


@register.filter
def diff(row: ConfigChange) -> list[dict[str, Any]]:
    """The settings that changed, each as lines that went out and came in."""
    return [
        {"name": labels.label(labels.SETTINGS, name), "lines": list(_lines(before, after))}
        for name, (before, after) in sorted(row.changes.items())
    ]


def _lines(before: Any, after: Any) -> Any:
    old, new = _text(before).splitlines() or ["–"], _text(after).splitlines() or ["–"]
    for line in difflib.ndiff(old, new):
        if line[0] in "-+":
            yield {"kind": "out" if line[0] == "-" else "in", "text": line[2:]}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return _("on") if value else _("off")
    if isinstance(value, dict) and set(value) == {"characters"}:
        return _("%(n)s characters") % {"n": value["characters"]}
    if isinstance(value, dict):
        return "\n".join(f"{key}={each}" for key, each in sorted(value.items()))
    return "" if value is None else str(value)
