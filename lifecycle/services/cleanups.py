"""Cleanups: what a deleted VM left on a host that did not answer is removed when the host is back.

Until then the host holds it, and its capacity with it; for the user it is gone.
"""

from uuid import UUID

from django.utils import timezone

from lifecycle.models import VM, Cleanup
from lifecycle.services import capacity
from lifecycle.services.db import service


@service
def leave(vm: VM) -> None:
    """Note that the VM's host still holds what is the VM's. The same call again changes nothing."""
    if vm.host_id:
        Cleanup.objects.get_or_create(vm=vm, defaults={"host_id": vm.host_id})


@service
def leave_again(vm_id: UUID, host_id: int) -> bool:
    """Note that the host holds something of a deleted VM once more. False when that is known."""
    if Cleanup.objects.filter(vm=vm_id, done_at__isnull=True).exists():
        return False
    Cleanup.objects.update_or_create(
        vm_id=vm_id, defaults={"host_id": host_id, "created_at": timezone.now(), "done_at": None}
    )
    return True


def waiting(host_id: int) -> list[Cleanup]:
    """What is to be removed from a host, oldest first."""
    found = Cleanup.objects.filter(host=host_id, done_at__isnull=True).order_by("created_at")
    return list(found.select_related("vm__project__network"))


@service
def done(cleanup: Cleanup) -> None:
    """Nothing of the VM is left on the host: its capacity is free."""
    capacity.release_all(cleanup.vm)
    Cleanup.objects.filter(pk=cleanup.pk, done_at__isnull=True).update(done_at=timezone.now())
