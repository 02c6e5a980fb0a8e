"""Hosts as they are registered and judged; leases that decide who works on one."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.states import State
from lifecycle.models import VM, Event, Host, HostLease, Project, Zone
from lifecycle.services import hosts, leases
from lifecycle.services.leases import Turn
from tests.factories import make_host, make_project, make_vm, make_zone

pytestmark = [pytest.mark.bothdb]

DESCRIPTION = hosts.Description("x86_64", 8, 16384, 500, "9.0.0", "7.2.0")


def test_registering_twice_is_one_host(zone: Zone) -> None:
    first = hosts.register("alpha", "qemu:///system", zone.name)
    assert hosts.register("alpha", "qemu:///system", zone.name) == first
    assert Host.objects.count() == 1
    assert first.health == Host.Health.UNKNOWN


@pytest.mark.parametrize(
    ("name", "uri", "zone_name", "field"),
    [
        ("Alpha!", "qemu:///system", "zone-a", "name"),
        ("", "qemu:///system", "zone-a", "name"),
        ("beta", "qemu:///system", "nowhere", "zone"),
        ("beta", "qemu:///taken", "zone-a", "uri"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_field(
    zone: Zone, name: str, uri: str, zone_name: str, field: str
) -> None:
    make_host("alpha", zone=zone, uri="qemu:///taken")
    with pytest.raises(InvalidInput) as refused:
        hosts.register(name, uri, zone_name)
    assert refused.value.field == field


def test_an_unknown_zone_is_refused_with_the_known_ones(zone: Zone) -> None:
    with pytest.raises(InvalidInput, match=zone.name):
        hosts.register("alpha", "qemu:///system", "nowhere")


def test_a_host_with_vms_does_not_change_its_zone(project: Project, host: Host) -> None:
    make_vm(project, host=host)
    make_zone("zone-b")
    with pytest.raises(InvalidInput):
        hosts.register(host.name, host.uri, "zone-b")


def test_a_description_is_recorded(host: Host) -> None:
    assert hosts.record_description(host.pk, DESCRIPTION)
    host.refresh_from_db()
    assert (host.vcpus_total, host.memory_mib_total, host.libvirt_version) == (8, 16384, "9.0.0")


def test_a_host_that_shrank_below_what_is_reserved_keeps_its_totals(project: Project, host: Host) -> None:
    make_vm(project, host=host)
    shrunk = hosts.Description("x86_64", 8, 1024, 500, "9.1.0", "7.2.0")
    assert not hosts.record_description(host.pk, shrunk)
    host.refresh_from_db()
    assert (host.memory_mib_total, host.libvirt_version) == (16384, "9.1.0")


def test_health_is_news_only_when_it_changes(project: Project, host: Host) -> None:
    vm = make_vm(project, host=host, state=State.RUNNING)
    assert hosts.mark_down(host.pk, "no route")
    assert not hosts.mark_down(host.pk, "no route")
    vm.refresh_from_db()
    assert vm.state == State.RUNNING
    assert hosts.mark_up(host.pk)
    assert not hosts.mark_up(host.pk)
    host.refresh_from_db()
    assert (host.health, host.health_reason) == (Host.Health.UP, "")


def test_who_looks_at_a_vm_is_told_that_its_host_fell_silent_and_that_it_answers_again(
    project: Project, host: Host
) -> None:
    """Once a turn, and about the VMs of that host alone: what is shown of them is only what was last known."""
    vms = [make_vm(project, host=host), make_vm(make_project(), state=State.TERMINATED, host=host)]
    make_vm(project, host=make_host())
    VM.objects.filter(pk=make_vm(project, host=host).pk).update(deleted_at=timezone.now())

    def told() -> list[tuple[str, bool]]:
        rows = [(event.payload["id"], event.payload["silent"]) for event in Event.objects.order_by("pk")]
        Event.objects.all().delete()
        return sorted(rows)

    hosts.mark_down(host.pk, "no route")
    assert told() == sorted((str(vm.pk), True) for vm in vms)
    hosts.mark_down(host.pk, "no route")
    hosts.mark_down(host.pk, "another reason")
    assert told() == []
    hosts.mark_up(host.pk)
    assert told() == sorted((str(vm.pk), False) for vm in vms)
    hosts.mark_up(host.pk)
    assert told() == []


# -- leases --------------------------------------------------------------------------------------


def test_a_lease_has_one_owner(host: Host) -> None:
    assert leases.take(host.pk, "watch", "a", 15)
    assert leases.take(host.pk, "watch", "a", 15)
    assert not leases.take(host.pk, "watch", "b", 15)
    assert leases.take(host.pk, "record", "b", 15)


def test_a_lease_that_has_expired_is_free(host: Host) -> None:
    leases.take(host.pk, "watch", "a", 15)
    HostLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert leases.take(host.pk, "watch", "b", 15)
    assert not leases.take(host.pk, "watch", "a", 15)


def test_a_lease_that_was_given_back_is_free(host: Host) -> None:
    leases.take(host.pk, "watch", "a", 15)
    assert leases.release(host.pk, "watch", "a")
    assert not leases.release(host.pk, "watch", "a")
    assert leases.take(host.pk, "watch", "b", 15)


@pytest.mark.django_db(transaction=True)
def test_there_is_no_lease_of_a_host_that_is_gone() -> None:
    assert not leases.take(4711, "watch", "a", 15)


@pytest.mark.django_db(transaction=True)
def test_of_many_that_ask_at_once_one_gets_the_lease() -> None:
    host = make_host()
    start, won = threading.Barrier(8), []

    def ask(name: str) -> None:
        start.wait()
        if leases.take(host.pk, "watch", name, 15):
            won.append(name)
        connection.close()

    threads = [threading.Thread(target=ask, args=(f"w{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_turn_ends_when_another_took_the_lease(host: Host) -> None:
    turn = Turn(host.pk, "watch", "a", 0.03, threading.Event())
    assert turn.goes_on()
    HostLease.objects.update(owner="b", expires_at=timezone.now() + timedelta(minutes=1))
    turn.stopping.wait(0.02)
    assert not turn.goes_on()


def test_a_turn_ends_at_once_when_it_is_time_to_stop(host: Host) -> None:
    stopping = threading.Event()
    turn = Turn(host.pk, "watch", "a", 15, stopping)
    assert turn.goes_on()
    stopping.set()
    assert not turn.goes_on()
    turn.end()
    assert leases.take(host.pk, "watch", "b", 15)
