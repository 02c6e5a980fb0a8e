"""What is known of a finding, line by line, in the words and units of people."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from lifecycle.labels import sized

#: Detail -> what it is called. Those that only choices need are not shown.
_NAMES: Final[dict[str, Promise]] = {
    "name": _("name"),
    "uuid": _("id in libvirt"),
    "power": _("observed power"),
    "persistent": _("defined for good"),
    "mark": _("mark of the installation"),
    "tombstone": _("its VM was deleted here"),
    "adopted": _("adopted"),
    "vcpus": _("vCPUs"),
    "memory_mib": _("memory"),
    "cpu_quota_percent": _("CPU limit"),
    "disks": _("disks"),
    "disk_bytes": _("sizes of the disks"),
    "interfaces": _("network interfaces"),
    "boot": _("boots from"),
    "pool": _("pool"),
    "capacity_bytes": _("size"),
    "allocation_bytes": _("space used"),
    "boot_of": _("boot disk of the VM"),
    "volumes": _("missing volumes"),
    "data_lost": _("data is lost"),
    "image": _("image"),
    "recorded": _("checksum recorded"),
    "found": _("checksum found"),
    "verified_at": _("compared"),
}


def title(subject: str, details: Mapping[str, Any]) -> str:
    """What a finding is about: the name that people know, else what libvirt calls it."""
    return str(details.get("name") or subject)


def facts(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of what is known; of what was changed, what is recorded and what was found."""
    lines = [(str(_NAMES[key]), _value(key, details[key])) for key in _NAMES if key in details]
    for part, change in details.get("changes", {}).items():
        values = {"recorded": _value(part, change["recorded"]), "found": _value(part, change["found"])}
        lines.append((str(_NAMES.get(part, part)), gettext("recorded: %(recorded)s; found: %(found)s") % values))
    return lines


def _value(key: str, value: Any) -> str:
    if value is None or value in ("", [], {}):
        return gettext("none")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    return _SHOWN.get(key, _plainly)(value)


def _plainly(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _pairs(value: list[list[str]]) -> str:
    """Each with what it is, has or is joined to."""
    return ", ".join(f"{first} ({', '.join(filter(None, rest))})" if any(rest) else first for first, *rest in value)


def _sizes(value: Mapping[str, int]) -> str:
    return ", ".join(f"{target} {sized(size)}" for target, size in value.items())


_SHOWN: Final[dict[str, Callable[[Any], str]]] = {
    "memory_mib": lambda value: gettext("%(n)s MiB") % {"n": value},
    "cpu_quota_percent": lambda value: gettext("%(n)s %%") % {"n": value},
    "capacity_bytes": sized,
    "allocation_bytes": sized,
    "disk_bytes": _sizes,
    "disks": _pairs,
    "interfaces": _pairs,
}
