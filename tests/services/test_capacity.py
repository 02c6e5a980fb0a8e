"""Capacity of hosts: reserved once, released by state, never above a limit."""

import pytest
from django.db import transaction

from lifecycle.domain.errors import ResourcePoolExhausted
from lifecycle.domain.states import State
from lifecycle.models import VM, Host, Project, Reservation
from lifecycle.services import capacity
from tests import factories

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


def reserved(host: Host) -> tuple[int, int, int]:
    host.refresh_from_db()
    return host.vcpus_reserved, host.memory_mib_reserved, host.disk_gib_reserved


def reserve(vm: VM) -> Host:
    with transaction.atomic():
        return capacity.reserve(VM.objects.select_related("zone", "image").get(pk=vm.pk))


@pytest.fixture
def vm(project: Project, host: Host) -> VM:
    """A new VM on no host, of 2 vCPUs, 512 MiB and 3 GiB."""
    return factories.make_vm(project, state=State.PROVISIONING, vcpus=2, memory_mib=512, disk_gib=3)


def test_a_reservation_books_all_three(vm: VM, host: Host) -> None:
    assert reserve(vm) == host
    assert reserved(host) == (2, 512, 3)


def test_reserving_twice_changes_nothing(vm: VM, host: Host) -> None:
    reserve(vm)
    reserve(vm)
    assert reserved(host) == (2, 512, 3)
    assert Reservation.objects.count() == 1


def test_reserving_again_what_is_held_needs_no_room(vm: VM, host: Host) -> None:
    reserve(vm)
    Host.objects.update(vcpus_total=1, cpu_overcommit_percent=200, memory_mib_total=1024 + 512)
    assert reserve(vm) == host


def test_released_compute_leaves_the_disk(vm: VM, host: Host) -> None:
    reserve(vm)
    with transaction.atomic():
        capacity.release_compute(vm)
        capacity.release_compute(vm)
    assert reserved(host) == (0, 0, 3)


def test_releasing_all_leaves_nothing(vm: VM, host: Host) -> None:
    reserve(vm)
    with transaction.atomic():
        capacity.release_all(vm)
        capacity.release_all(vm)
    assert reserved(host) == (0, 0, 0)
    assert not Reservation.objects.exists()


def test_releasing_what_was_never_reserved_is_fine(vm: VM, host: Host) -> None:
    with transaction.atomic():
        capacity.release_compute(vm)
        capacity.release_all(vm)
    assert reserved(host) == (0, 0, 0)


def test_compute_is_reserved_again_on_the_same_host(vm: VM, host: Host) -> None:
    reserve(vm)
    with transaction.atomic():
        capacity.release_compute(vm)
    factories.make_host("roomier", memory_mib_total=10**6)
    assert reserve(vm) == host
    assert reserved(host) == (2, 512, 3)


def test_overcommit_gives_more_vcpus_than_there_are_cpus(vm: VM, host: Host) -> None:
    Host.objects.update(vcpus_total=1, cpu_overcommit_percent=200)
    assert reserve(vm) == host


def test_the_memory_kept_for_the_host_is_never_given_away(vm: VM, host: Host) -> None:
    Host.objects.update(memory_mib_total=1535, memory_mib_kept=1024)
    with pytest.raises(ResourcePoolExhausted) as refused:
        reserve(vm)
    assert refused.value.reasons == {"host-1": "512 MiB of memory wanted, 511 free"}


def test_a_host_of_another_zone_is_not_used(vm: VM, host: Host) -> None:
    Host.objects.update(zone=factories.make_zone("zone-b"))
    with pytest.raises(ResourcePoolExhausted) as refused:
        reserve(vm)
    assert refused.value.reasons == {"zone-a": "the zone has no hosts"}


def test_a_refusal_books_nothing(vm: VM, host: Host) -> None:
    Host.objects.update(vcpus_total=0)
    with pytest.raises(ResourcePoolExhausted):
        reserve(vm)
    assert reserved(host) == (0, 0, 0)
    assert not Reservation.objects.exists()


@pytest.mark.parametrize("health", [Host.Health.DOWN, Host.Health.UNKNOWN])
def test_a_host_that_does_not_answer_is_not_chosen(vm: VM, host: Host, health: str) -> None:
    Host.objects.update(health=health)
    with pytest.raises(ResourcePoolExhausted) as refused:
        reserve(vm)
    assert refused.value.reasons == {"host-1": "the host does not answer"}
