"""`{% load portal %}`: badges, times, sizes, names."""

import re
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any
from uuid import uuid4

from django import template
from django.template.defaultfilters import floatformat
from django.utils import timezone
from django.utils.formats import date_format, number_format, time_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from lifecycle import audit_words, labels
from lifecycle.models import VM, Alert, Notification, Operation, Repair, ScheduleRun
from lifecycle.services import expiry, repair_records

register = template.Library()

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@register.simple_tag
def state_badge(state: str, extra: str = "") -> SafeString:
    """The badge of a state. `data-field` and `data-state` are what the live script writes to."""
    return format_html(
        '<span class="state state--{} {}" data-field="state" data-state="{}" title="{}">{}</span>',
        state.lower(),
        extra,
        state,
        labels.label(labels.MEANINGS, state),
        _on_badge(state),
    )


@register.simple_tag
def state_mark(state: str) -> SafeString:
    """A badge that tells of the past: it never changes."""
    return format_html('<span class="state state--small state--{}">{}</span>', state.lower(), _on_badge(state))


@register.simple_tag
def state_names() -> dict[str, str]:
    """State -> what its badge says, for the live script."""
    return {state: _on_badge(state) for state in labels.STATES}


def _on_badge(state: str) -> str:
    """Capitals: in English, the very names that the API and the documentation use."""
    return labels.label(labels.STATES, state).upper()


@register.filter
def state_name(state: str) -> str:
    """The name of a state."""
    return labels.label(labels.STATES, state)


@register.filter
def action_name(action: str) -> str:
    """The name of an action."""
    return labels.label(labels.ACTIONS, action)


@register.filter
def action_icon(action: str) -> str:
    """The icon of an action."""
    return labels.ACTION_ICONS.get(str(action), "activity")


@register.filter
def audit_name(action: str) -> str:
    """What an entry of the audit log tells of."""
    return labels.label(labels.AUDIT, action)


@register.filter
def audit_details(details: dict[str, Any]) -> str:
    """The values of an entry, for people."""
    return audit_words.told(details)


@register.filter
def webhook_kind(kind: str) -> str:
    """What a webhook tells of, in words."""
    return labels.label(labels.WEBHOOK_KINDS, kind)


@register.filter
def step_name(name: str) -> str:
    """The name of an operation's step."""
    return labels.label(labels.STEPS, name)


@register.filter
def step_status(status: str) -> str:
    """The name of a step's status."""
    return labels.label(labels.STEP_STATUSES, status)


@register.filter
def step_icon(status: str) -> str:
    """The icon of a step's status."""
    return labels.STEP_ICONS.get(status, "circle")


@register.filter
def metric_name(metric: str) -> str:
    """The name of a quota's or a host's metric."""
    return labels.label(labels.METRICS, metric)


@register.filter
def role_name(role: str) -> str:
    """The name of a role."""
    return labels.label(labels.ROLES, role)


@register.filter
def role_meaning(role: str) -> str:
    """What a role may do."""
    return labels.label(labels.ROLE_MEANINGS, role)


@register.filter
def error_text(operation: Operation | ScheduleRun) -> str:
    """An operation's error in the reader's language."""
    return labels.error_text(operation.error)


@register.filter
def alert_text(alert: Alert) -> str:
    """An alert's text with its values, in the reader's language."""
    return labels.filled(alert.text, alert.params)


@register.filter
def notification_text(notification: Notification) -> str:
    """What a notification says, in the reader's language."""
    return labels.filled(notification.text, notification.params)


@register.filter
def retold(text: str) -> str:
    """A reason that is kept in English, in the reader's language."""
    return labels.retold(text)


@register.filter
def actor(row: Any) -> str:
    """Who asked for an operation or caused a transition."""
    if row.user_id and row.user:
        return str(row.user)
    if row.asked_by == "user":
        return _("somebody whose account is gone")
    return labels.label(labels.ASKERS, row.asked_by)


@register.filter
def ip_of(vm: VM) -> str:
    """The internal address, or nothing."""
    address = getattr(vm, "address", None)
    return address.ip if address else ""


@register.filter
def mib(amount: int) -> str:
    """MiB in the unit people use: 512 MiB, 2 GiB, 1.5 GiB."""
    if amount < 1024:
        return _("%(n)s MiB") % {"n": number_format(amount)}
    return _("%(n)s GiB") % {"n": floatformat(amount / 1024, "-1")}


@register.filter
def size(amount: int) -> str:
    """Bytes in the unit people use."""
    return labels.sized(amount)


@register.filter
def amount(value: int, metric: str) -> str:
    """An amount of a metric with its unit."""
    if metric == "memory_mib":
        return mib(value)
    return _("%(n)s GiB") % {"n": number_format(value)} if metric == "disk_gib" else number_format(value)


@register.filter
def plain(text: str) -> str:
    """Serial output without the escape sequences of a terminal."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@register.simple_tag
def ago(moment: datetime | None, empty: str = "–") -> SafeString | str:
    """A `<time>`: relative in the text, exact with its zone in the title."""
    if moment is None:
        return empty
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>', moment.isoformat(), exact(moment), relative(moment)
    )


@register.filter
def exact(moment: datetime) -> str:
    """Date, time to the second and zone, in the reader's zone."""
    return _moment(moment, "H:i:s")


@register.filter
def to_the_minute(moment: datetime) -> str:
    """Date, time to the minute and zone, in the reader's zone."""
    return _moment(moment, "H:i")


def _moment(moment: datetime, clock: str) -> str:
    local = timezone.localtime(moment)
    return f"{date_format(local, 'DATE_FORMAT')}, {time_format(local, clock)} {local.tzname()}"


def relative(moment: datetime) -> str:
    """How long ago, or how soon."""
    age = timezone.now() - moment
    if abs(age) < timedelta(seconds=5):
        return _("now")
    if timedelta() <= age < timedelta(minutes=1):
        seconds = int(age.total_seconds())
        return ngettext("%(n)s second ago", "%(n)s seconds ago", seconds) % {"n": seconds}
    if age < timedelta():
        return _("in %(span)s") % {"span": timesince(timezone.now(), now=moment, depth=1)}
    return _("%(span)s ago") % {"span": timesince(moment, depth=1)}


@register.filter
def took(row: Any) -> str:
    """How long an operation or a step took, or has taken so far; empty before its start."""
    begun = getattr(row, "insert_time", None) or getattr(row, "started_at", None)
    ended = getattr(row, "end_time", None) or getattr(row, "ended_at", None)
    if not begun or not ended:
        return ""
    seconds = max(0.0, (ended - begun).total_seconds())
    if seconds < 60:
        return _("%(n)s s") % {"n": floatformat(seconds, 1)}
    return _("%(minutes)s min %(seconds)s s") % {"minutes": int(seconds) // 60, "seconds": int(seconds) % 60}


@register.filter
def seconds_long(seconds: int) -> str:
    """Seconds as people say them: ten minutes and less to the second."""
    if seconds < 60 or (seconds < 600 and seconds % 60):
        return _("%(n)s s") % {"n": seconds}
    now = timezone.now()
    return timesince(now - timedelta(seconds=seconds), now, depth=1)


@register.filter
def length_of(seconds: Decimal) -> str:
    """A length of time in seconds, as people say it."""
    return labels.lasted(float(seconds))


@register.filter
def repair_length(repair: Repair) -> str:
    """How long a repair took, or has taken so far."""
    return labels.lasted(repair_records.length(repair, timezone.now()).total_seconds())


@register.filter
def suspension_ends(vm: VM) -> datetime | None:
    """When a suspended VM loses its memory and is stopped."""
    return expiry.expires_at(vm)


@register.filter
def share(part: Decimal) -> str:
    """A part of one, 0 to 1, in percent: never rounded up to all of it."""
    percent = (part * 100).quantize(Decimal("0.001"), rounding=ROUND_DOWN)
    return _("%(n)s %%") % {"n": floatformat(percent, "-3")}


@register.simple_tag
def new_request_id() -> str:
    """A fresh request id for a form: the same form sent twice does nothing twice."""
    return str(uuid4())
