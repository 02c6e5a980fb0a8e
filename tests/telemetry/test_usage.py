"""What a host's guests use: measured, summed, kept for an hour in Redis and for longer in the database."""

import math
import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from lifecycle.domain.states import State
from lifecycle.domain.usage import FIVE_MINUTES, HOUR, Counters, Summary, summary_of
from lifecycle.models import VM, Host, HostUsage, Project, VMUsage
from lifecycle.realtime import recent
from lifecycle.services import retention, usage
from lifecycle.telemetry.usage import Meter
from tests.factories import make_host, make_project, make_vm
from tests.realtime.servers import RedisServer

pytestmark = pytest.mark.django_db

#: A moment at the beginning of an hour, so that spans are easy to tell.
BEGIN = 1_800_000_000
assert BEGIN % HOUR == 0


@pytest.fixture(autouse=True)
def redis(redis_layer: RedisServer) -> RedisServer:
    """Every test has a Redis."""
    return redis_layer


class NoHost:
    """The meter is given counters by these tests; it asks nobody."""


def meter_of(host: Host) -> Meter:
    """A meter of the host, which must not be asked."""
    return Meter(host.pk, NoHost())  # type: ignore[arg-type]


def looks(meter: Meter, vm_ids: list[UUID], at: int, number: int, cpu: float = 0.5, run: int = 1) -> int:
    """`number` looks from `at` on, ten seconds apart, at guests that use `cpu` cores."""
    said = 0
    for index in range(number):
        seconds = at + 10 * index
        counters = {
            vm_id: Counters(float(seconds), run, int(seconds * cpu * 1e9), 64.0, 0, seconds * 1024, 0, 0)
            for vm_id in vm_ids
        }
        said += meter.take(seconds, counters)
    return said


def rows_of(vm: VM, length: int = FIVE_MINUTES) -> list[tuple[int, Summary]]:
    """The VM's rows, oldest first."""
    return [(row.begin, row.summary) for row in VMUsage.objects.filter(vm=vm, length=length).order_by("begin")]


def test_five_minutes_become_a_row_a_vm_a_host_and_a_project(project: Project, host: Host) -> None:
    vms = [make_vm(project, host=host) for _ in range(2)]
    meter = meter_of(host)
    assert looks(meter, [vm.pk for vm in vms], BEGIN, 31) == 60
    [(begin, summary)] = rows_of(vms[0])
    assert (begin, summary.counts[0]) == (BEGIN, 29)
    assert summary.mean[0] == pytest.approx(0.5)
    assert summary.mean[3] == pytest.approx(1024)
    by_place = {row.project_id: row.summary for row in HostUsage.objects.filter(host=host)}
    assert by_place[None].mean[0] == by_place[project.pk].mean[0] == pytest.approx(1.0)
    assert by_place[project.pk].mean[1] == pytest.approx(128.0)


def test_guests_that_are_not_ours_are_not_measured(project: Project, host: Host) -> None:
    make_vm(project, host=host)
    elsewhere = make_vm(project, host=make_host())
    assert looks(meter_of(host), [uuid4(), elsewhere.pk], BEGIN, 3) == 0


def test_a_guest_that_was_started_again_has_a_gap_and_no_peak(project: Project, host: Host) -> None:
    vm = make_vm(project, host=host)
    meter = meter_of(host)
    looks(meter, [vm.pk], BEGIN, 3, run=1)
    looks(meter, [vm.pk], BEGIN + 30, 3, run=2)
    meter.flush()
    [(_begin, summary)] = rows_of(vm)
    assert summary.counts[0] == 4
    assert summary.high[0] == pytest.approx(0.5)


def test_another_process_completes_the_five_minutes(project: Project, host: Host) -> None:
    vm = make_vm(project, host=host)
    first, second = meter_of(host), meter_of(host)
    looks(first, [vm.pk], BEGIN, 4, cpu=0.2)
    first.flush()
    looks(second, [vm.pk], BEGIN + 60, 4, cpu=0.8)
    second.flush()
    second.flush()
    [(_begin, summary)] = rows_of(vm)
    assert summary.counts[0] == 6
    assert summary.low[0] == pytest.approx(0.2)
    assert summary.high[0] == pytest.approx(0.8)
    assert summary.mean[0] == pytest.approx(0.5)
    assert HostUsage.objects.get(host=host, project=None).summary.counts[0] >= 6


def test_the_last_hour_is_in_redis_by_vm_host_and_project(project: Project, host: Host) -> None:
    vm = make_vm(project, host=host)
    now = int(time.time()) // 10 * 10
    looks(meter_of(host), [vm.pk], now - 50, 6)
    subjects = [
        recent.vm_subject(vm.pk),
        recent.host_subject(host.pk),
        recent.part_subject(project.pk, host.pk),
        recent.vm_subject(uuid4()),
    ]
    found = recent.read(subjects, HOUR)
    assert [at for at, _values in found[subjects[0]]] == [now - 40, now - 30, now - 20, now - 10, now]
    assert found[subjects[0]][0][1][0] == pytest.approx(0.5)
    assert found[subjects[2]][-1][1][1] == pytest.approx(64.0)
    assert found[subjects[1]][-1][1][0] == pytest.approx(0.5)
    assert found[subjects[3]] == []


def test_a_ring_forgets_what_is_older_than_an_hour(project: Project, host: Host) -> None:
    vm = make_vm(project, host=host)
    now = int(time.time()) // 10 * 10
    looks(meter_of(host), [vm.pk], now - 5000, 3)
    assert recent.read([recent.vm_subject(vm.pk)], HOUR) == {recent.vm_subject(vm.pk): []}


def test_without_redis_the_five_minutes_are_kept_all_the_same(project: Project, host: Host, redis: RedisServer) -> None:
    vm = make_vm(project, host=host)
    redis.kill()
    meter = meter_of(host)
    assert looks(meter, [vm.pk], BEGIN, 31) == 30
    assert len(rows_of(vm)) == 1
    with pytest.raises(recent.Unavailable):
        recent.read([recent.vm_subject(vm.pk)], HOUR)


def test_a_vm_that_is_gone_for_good_writes_nothing(project: Project, host: Host) -> None:
    usage.keep_vms(BEGIN, {uuid4(): summary_of((1.0,) * 6)})
    assert not VMUsage.objects.exists()


def test_hours_are_summed_up_once_they_are_over_and_again_without_harm(project: Project, host: Host) -> None:
    vm = make_vm(project, host=host)
    for index in range(12):
        begin = BEGIN + index * FIVE_MINUTES
        usage.keep_vms(begin, {vm.pk: summary_of((float(index), math.nan, 0.0, 0.0, 0.0, 0.0))})
        usage.keep_host(host.pk, begin, {None: summary_of((1.0,) * 6), project.pk: summary_of((2.0,) * 6)})
    assert usage.sum_up_hours(BEGIN + HOUR - 1) == 0, "the hour is not over"
    for _twice in range(2):
        assert usage.sum_up_hours(BEGIN + HOUR) == 3
    [(begin, summary)] = rows_of(vm, HOUR)
    assert (begin, summary.low[0], summary.high[0], summary.counts) == (BEGIN, 0.0, 11.0, (12, 0, 12, 12, 12, 12))
    assert summary.mean[0] == pytest.approx(5.5)
    assert math.isnan(summary.mean[1])
    assert {row.project_id: row.summary.mean[0] for row in HostUsage.objects.filter(length=HOUR)} == {
        None: 1.0,
        project.pk: 2.0,
    }


def test_what_is_old_is_dropped_and_what_is_not_is_kept(project: Project, host: Host, settings: Settings) -> None:
    vm = make_vm(project, host=host, state=State.TERMINATED)
    now = timezone.now()
    flat = summary_of((1.0,) * 6).pack()
    for length, days in ((FIVE_MINUTES, 3), (FIVE_MINUTES, 1), (HOUR, 3), (HOUR, 41)):
        begin = int((now - timedelta(days=days)).timestamp()) // length * length
        VMUsage.objects.create(vm=vm, length=length, begin=begin, packed=flat)
        HostUsage.objects.create(host=host, length=length, begin=begin, packed=flat)
    assert sum(retention.batches()) == 4
    for model in (VMUsage, HostUsage):
        kept = [(row.length, round((now.timestamp() - row.begin) / 86400)) for row in model.objects.order_by("length")]
        assert kept == [(FIVE_MINUTES, 1), (HOUR, 3)]


def test_a_collection_asks_as_much_for_many_vms_as_for_few(
    project: Project, host: Host, django_assert_num_queries: object
) -> None:
    other = make_project("other")
    few, many = [make_vm(project, host=host).pk], [make_vm(other, host=host, vcpus=1).pk for _ in range(5)]
    meter = meter_of(host)
    looks(meter, few, BEGIN, 2)
    assert callable(django_assert_num_queries)
    with django_assert_num_queries(1):
        looks(meter, few + many, BEGIN + 20, 1)
