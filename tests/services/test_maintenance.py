"""Maintenance: announced in time, told to those whom it concerns, and outside of the SLA."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from lifecycle.billing import costs, rating, sla
from lifecycle.domain.errors import InvalidInput, StateConflict
from lifecycle.domain.pricing import Item, Sort
from lifecycle.domain.states import State
from lifecycle.models import VM, AuditEntry, Host, Maintenance, Notification, Project, User
from lifecycle.services import maintenance, metering
from tests import factories
from tests.billing.tools import FEBRUARY, MARCH, SLA, crash, feb, price_list, start, vm_born
from tests.services.tools import no_change, refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

NOW = datetime(2026, 2, 1, tzinfo=UTC)
HOUR = 3600


@pytest.fixture
def vm(project: Project, host: Host, catalog: None) -> VM:
    """Runs from the first of February, for 1.00 an hour."""
    price_list([(Item.VCPU, "1")], sla=SLA)
    return vm_born(project, feb(1), "web-1")


def announced(host: Host, start: datetime, end: datetime, at: datetime = NOW, user: User | None = None) -> Maintenance:
    with time_machine.travel(at, tick=False):
        return maintenance.announce(host, start, end, "A new disk", user=user)


def uptime(vm: VM) -> tuple[int, int]:
    """Hours up and down in February, by the log and the announcements."""
    with time_machine.travel(MARCH):
        used = metering.usage(vm, FEBRUARY, MARCH)
    return int(used.up / HOUR), int(used.down / HOUR)


# -- announced -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (feb(1, 23.9), feb(2, 2)),
        (feb(1) - timedelta(hours=1), feb(1, 1)),
        (feb(3), feb(3)),
        (feb(3), feb(2)),
        (feb(3), feb(4, 0.1)),
    ],
)
def test_what_comes_too_late_or_lasts_too_long_is_refused(host: Host, start: datetime, end: datetime) -> None:
    with refusal(InvalidInput), no_change():
        announced(host, start, end)


def test_a_reason_is_given(host: Host) -> None:
    with refusal(InvalidInput), no_change(), time_machine.travel(NOW, tick=False):
        maintenance.announce(host, feb(3), feb(3, 2), "  ", user=None)


def test_those_who_have_vms_on_the_host_are_told_in_their_words(
    project: Project, owner: User, operator: User, host: Host, catalog: None, superuser: User
) -> None:
    for number in range(7):
        factories.make_vm(project, f"web-{number}", host=host)
    elsewhere = factories.make_project("elsewhere", owner=factories.make_user("eve"))
    factories.make_vm(elsewhere, "other", host=factories.make_host("host-9", zone=host.zone))
    row = announced(host, feb(3), feb(3, 2), user=superuser)
    found = Notification.objects.filter(kind="maintenance")
    assert set(found.values_list("user__username", flat=True)) == {"olivia", "otto"}
    told = found.get(user=owner)
    assert told.params["names"] == "web-0, web-1, web-2, web-3, web-4 …"
    assert (told.params["start"], told.params["end"]) == ("2026-02-03 00:00 UTC", "2026-02-03 02:00 UTC")
    assert host.name not in str(told.params)  # hosts are the operators' matter
    entry = AuditEntry.objects.get(action="maintenance.announce")
    assert (entry.who, entry.target, entry.details["reason"]) == (superuser.username, host.name, "A new disk")
    with time_machine.travel(feb(2), tick=False):
        maintenance.cancel(row, user=superuser)
    assert found.filter(user=owner).count() == 2
    assert AuditEntry.objects.filter(action="maintenance.cancel").count() == 1


def test_it_is_cancelled_once_and_until_it_begins(host: Host) -> None:
    first, second = announced(host, feb(3), feb(3, 2)), announced(host, feb(5), feb(5, 2))
    with time_machine.travel(feb(3), tick=False), refusal(StateConflict), no_change():
        maintenance.cancel(first, user=None)
    with time_machine.travel(feb(4), tick=False):
        maintenance.cancel(second, user=None)
        with refusal(StateConflict):
            maintenance.cancel(second, user=None)


# -- outside of the SLA --------------------------------------------------------------------------


def test_what_failed_in_announced_maintenance_is_no_downtime(vm: VM, host: Host) -> None:
    """Off by a failure for 10 hours, 4 of them in maintenance; silent for 2 more, 1 of them in it."""
    announced(host, feb(9, 22), feb(10, 4))
    announced(host, feb(20, 1), feb(20, 9))
    crash(vm, feb(10), feb(10), State.TERMINATED)
    start(vm, feb(10, 10))
    crash(vm, feb(20), feb(20, 5), noticed=feb(20, 2))
    assert uptime(vm) == (672 - 10 - 5, 10 - 4 + 1)


def test_only_the_host_that_was_announced_is_excused(vm: VM, host: Host) -> None:
    other = factories.make_host("host-9", zone=host.zone)
    announced(other, feb(10), feb(10, 10))
    with time_machine.travel(feb(2), tick=False):
        maintenance.cancel(announced(host, feb(10), feb(10, 10)), user=None)
    crash(vm, feb(10), feb(10), State.TERMINATED)
    start(vm, feb(10, 10))
    assert uptime(vm) == (662, 10)
    VM.objects.filter(pk=vm.pk).update(host=other)  # where it is now says nothing of where it failed
    assert uptime(vm) == (662, 10)


def test_windows_that_overlap_excuse_a_moment_once(vm: VM, host: Host) -> None:
    for begin, end in ((1, 5), (2, 3), (4, 7)):
        announced(host, feb(10, begin), feb(10, end))
    crash(vm, feb(10), feb(10), State.TERMINATED)
    start(vm, feb(10, 10))
    assert uptime(vm) == (662, 4)


def test_neither_page_nor_credit_counts_what_was_announced(vm: VM, project: Project, host: Host) -> None:
    crash(vm, feb(10), feb(10), State.TERMINATED)
    start(vm, feb(10, 10))
    with time_machine.travel(MARCH):
        assert sla.breaches(project, FEBRUARY, MARCH)[str(vm.pk)].usage.down == 10 * HOUR
        credit = [line for line in rating.bill(project, FEBRUARY, MARCH).lines if line.sort is Sort.SLA]
        assert credit[0].amount == Decimal("-165.50")  # 662 hours; below 99 %: a quarter
    announced(host, feb(10), feb(10, 10))
    with time_machine.travel(MARCH - timedelta(seconds=1)):
        assert sla.breaches(project, FEBRUARY, MARCH) == {}
        assert all(line.sort is not Sort.SLA for line in rating.bill(project, FEBRUARY, MARCH).lines)
        assert costs.of_project(project, MARCH - timedelta(seconds=1)).uptime == 1
        assert costs.of_vm(vm, MARCH - timedelta(seconds=1)).uptime == 1


def test_announcements_are_read_in_one_query_and_only_after_a_failure(vm: VM, project: Project, host: Host) -> None:
    announced(host, feb(10), feb(10, 10))

    def queries() -> int:
        with time_machine.travel(MARCH), CaptureQueriesContext(connection) as captured:
            metering.project_usage(project, FEBRUARY, MARCH)
        return len(captured)

    assert queries() == 1
    for number in range(3):
        crash(vm_born(project, feb(1), f"vm-{number}"), feb(10), feb(10), State.TERMINATED)
        assert queries() == 2
