"""`{% load charts %}`: values and names of charts."""

from django import template
from django.template.defaultfilters import floatformat
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from lifecycle import labels
from lifecycle.templatetags.portal import mib

register = template.Library()


@register.filter
def measured(value: float | None, unit: str) -> str:
    """A value with its unit; a dash for what is unknown."""
    if value is None:
        return "–"
    if unit == "percent":
        return _("%(n)s %%") % {"n": floatformat(value, "-1")}
    if unit == "mib":
        return mib(round(value))
    if unit == "cores":
        return floatformat(value, "-2")
    units, step = chart_units().split(), 0
    while value >= 1000 and step < 3:
        value, step = value / 1024, step + 1
    return f"{floatformat(value, '-1')} {units[step]}"


@register.simple_tag
def chart_units() -> str:
    """Units of rates and of memory in the reader's language, for the script that draws, too."""
    # Translators: keep the order and the spaces between.
    return pgettext("units", "B/s KiB/s MiB/s GiB/s MiB GiB")


@register.filter
def chart_name(name: str) -> str:
    """The name of a chart or of a series."""
    return labels.label(labels.CHARTS, name)


@register.filter
def span_name(name: str) -> str:
    """The name of a span of time."""
    return labels.label(labels.SPANS, name)
