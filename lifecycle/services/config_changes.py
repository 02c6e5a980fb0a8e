"""Changes of a VM's settings, written down with what was before: the caller's service wraps its writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from lifecycle.domain.transitions import Asker
from lifecycle.models import VM, ConfigChange, User

#: What people set on a VM. Of those that exist in this version, all are compared.
SETTINGS: Final = (
    "name",
    "machine_type__name",
    "vcpus",
    "memory_mib",
    "cpu_quota_percent",
    "automatic_restart",
    "on_host_maintenance",
    "host_error_timeout_seconds",
    "stop_grace_seconds",
    "deletion_protection",
    "labels",
    "note",
    "notes",
    "ssh_keys",
    "startup_script",
    "user_data",
)
#: Texts that may hold a secret: that they changed is told, and how long they are.
SECRET: Final = frozenset({"startup_script", "user_data"})
#: A text longer than this is cut.
_LONGEST: Final = 2000


@contextmanager
def recorded(vm_id: UUID, *, user: User | None, asked_by: Asker = Asker.USER) -> Iterator[None]:
    """Write down what the block changes of the VM's settings; nothing when it changes none.

    Needs an open transaction: the row and the change are committed together.
    """
    before = settings_of(vm_id)
    yield
    after = settings_of(vm_id)
    changes = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    if changes:
        kept = {name.removesuffix("__name"): [_kept(name, value) for value in pair] for name, pair in changes.items()}
        ConfigChange.objects.create(vm_id=vm_id, asked_by=asked_by, user=user, changes=kept)


def settings_of(vm_id: UUID) -> dict[str, Any]:
    """The VM's settings as they are: one query."""
    known = {field.name for field in VM._meta.get_fields()}
    names = [name for name in SETTINGS if name.partition("__")[0] in known]
    found: dict[str, Any] = VM.objects.filter(pk=vm_id).values(*names).get()
    return found


def _kept(name: str, value: Any) -> Any:
    if name in SECRET:
        return {"characters": len(value or "")}
    return value[:_LONGEST] if isinstance(value, str) else value
