"""A VM's metadata: as it was given, for as long as what reaches the guest is still the same."""

from collections.abc import Callable
from typing import Final

from lifecycle.domain.metadata import KEYS, SCRIPT, USER_DATA, bare_keys
from lifecycle.models import VM


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


#: Key, the VM's field that its seed is made of, and how the key's value becomes the field's.
SEEDED: Final[tuple[tuple[str, str, Callable[[str], str]], ...]] = (
    (KEYS, "ssh_keys", bare_keys),
    (SCRIPT, "startup_script", _lines),
    (USER_DATA, "user_data", _lines),
)


def metadata_of(vm: VM) -> dict[str, str]:
    """All of it. Where a page has changed a field since, the field counts."""
    items = dict(vm.metadata)
    for key, field, as_field in SEEDED:
        value = getattr(vm, field)
        if as_field(items.get(key, "")) != value:
            items.pop(key, None)
            if value:
                items[key] = value
    return items


def seeded_fields(items: dict[str, str]) -> dict[str, str]:
    """The VM's fields that the metadata sets."""
    return {field: as_field(items.get(key, "")) for key, field, as_field in SEEDED}


def labels_of(vm: VM) -> dict[str, str]:
    """The VM's labels."""
    return dict(vm.labels)
