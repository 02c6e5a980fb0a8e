"""Metering intervals: opened and closed with each transition, added up, derived again from the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.domain.errors import StateConflict
from lifecycle.domain.metering import Change, Span, Usage, derive
from lifecycle.domain.states import State
from lifecycle.domain.transitions import DEATHS, PAIRS, Action, Asker
from lifecycle.models import VM, Disk, MeteringInterval, Project, Transition, User
from lifecycle.services import metering
from lifecycle.services.transitions import born, move
from lifecycle.services.vms import VMRequest, request_create
from tests import factories
from tests.services.tools import no_change, undone

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]

HOURS = 3600
NOON = datetime(2024, 2, 28, 12, tzinfo=UTC)  # before a leap day


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def running_vm(project: Project, **fields: object) -> VM:
    """A VM that was adopted at noon, running."""
    vm = factories.make_vm(project, state_since=NOON, **fields)  # type: ignore[arg-type]
    return factories.give_history(vm, NOON)


def go(vm: VM, action: Action, source: State, target: State | None, minute: float) -> VM:
    return move(vm.id, action, source, target, asked_by=Asker.OBSERVER, occurred_at=at(minute))


def stop(vm: VM, begin: float, end: float) -> None:
    go(vm, Action.STOP, State.RUNNING, State.STOPPING, begin)
    go(vm, Action.STOP, State.STOPPING, State.TERMINATED, end)


def start(vm: VM, begin: float, end: float) -> None:
    go(vm, Action.START, State.TERMINATED, State.PROVISIONING, begin)
    go(vm, Action.START, State.PROVISIONING, State.STAGING, begin)
    go(vm, Action.START, State.STAGING, State.RUNNING, end)


def crash(vm: VM, minute: float) -> None:
    """RUNNING -> REPAIRING, recorded at the moment it occurred."""
    go(vm, Action.CRASH, State.RUNNING, State.REPAIRING, minute)
    recorded(vm, minute)


def recorded(vm: VM, minute: float) -> None:
    """The last transition was recorded then: this test's clock, which `recorded_at` is written by, is in 2024."""
    last = Transition.objects.filter(vm=vm).latest("id")
    with rewritten():
        Transition.objects.filter(pk=last.pk).update(recorded_at=at(minute))


@contextmanager
def rewritten() -> Iterator[None]:
    """Beside the guards, as only a test may."""
    from lifecycle.models import guards

    with connection.cursor() as cursor:
        for guard in (guards.APPEND_ONLY, guards.CLOSED_ONLY):
            table = Transition._meta.db_table if guard == guards.APPEND_ONLY else MeteringInterval._meta.db_table
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER {guard}{on}")
        yield
        guards.install(connection)


def sla(used: Usage) -> tuple[float, float]:
    """Minutes up and down."""
    return float(used.up / 60), float(used.down / 60)


def spans(vm: VM) -> list[tuple[str, datetime, datetime | None]]:
    rows = MeteringInterval.objects.filter(vm=vm).order_by("opened_by_id")
    return list(rows.values_list("state", "started_at", "ended_at"))


# -- with each transition ------------------------------------------------------------------------


def test_a_transition_ends_an_interval_and_begins_the_next(project: Project) -> None:
    vm = running_vm(project)
    go(vm, Action.STOP, State.RUNNING, State.STOPPING, 10)
    assert spans(vm) == [("RUNNING", at(0), at(10)), ("STOPPING", at(10), None)]
    opened = list(MeteringInterval.objects.order_by("opened_by_id").values_list("opened_by__to_state", flat=True))
    assert opened == ["RUNNING", "STOPPING"]


@pytest.mark.usefixtures("catalog")
def test_a_vm_is_metered_from_its_request_on(project: Project, owner: User) -> None:
    operation = request_create(project, VMRequest("web-1", disk_gib=7), user=owner)
    assert operation.vm
    only = MeteringInterval.objects.get(vm=operation.vm)
    assert (only.state, only.started_at, only.ended_at) == ("PROVISIONING", operation.vm.created_at, None)
    assert (only.machine_type, only.vcpus, only.memory_mib, only.disk_gib) == ("tiny-1", 1, 128, 7)
    assert only.project == project


def test_an_interval_has_the_shape_of_its_time(project: Project) -> None:
    vm = running_vm(project)
    stop(vm, 1, 2)
    bigger = factories.make_machine_type("big-4", vcpus=4, memory_mib=4096)
    VM.objects.filter(pk=vm.pk).update(machine_type=bigger, vcpus=4, memory_mib=4096)
    Disk.objects.create(vm=vm, name="data", size_gib=20, volume="data.qcow2", boot=False)
    go(vm, Action.START, State.TERMINATED, State.PROVISIONING, 3)
    shapes = list(MeteringInterval.objects.order_by("opened_by_id").values_list("machine_type", "vcpus", "disk_gib"))
    assert shapes[2:] == [(vm.machine_type.name, vm.vcpus, 1), ("big-4", 4, 21)]


def test_a_vm_that_is_gone_is_metered_no_more(project: Project) -> None:
    vm = running_vm(project)
    go(vm, Action.DELETE, State.RUNNING, State.STOPPING, 5)
    go(vm, Action.DELETE, State.STOPPING, None, 8)
    assert spans(vm)[-1] == ("STOPPING", at(5), at(8))
    assert not MeteringInterval.objects.filter(ended_at=None).exists()


def test_what_happens_in_one_instant_leaves_intervals_without_length(project: Project) -> None:
    vm = running_vm(project)
    stop(vm, 5, 5)
    assert spans(vm) == [("RUNNING", at(0), at(5)), ("STOPPING", at(5), at(5)), ("TERMINATED", at(5), None)]


def test_a_clock_set_back_makes_no_overlap(project: Project) -> None:
    vm = running_vm(project)
    stop(vm, 30, 10)
    assert spans(vm)[1:] == [("STOPPING", at(30), at(30)), ("TERMINATED", at(30), None)]


def test_nothing_occurs_before_the_interval_that_lasts(project: Project) -> None:
    """Even for a VM whose own `state_since` was written by somebody else."""
    vm = running_vm(project)
    VM.objects.filter(pk=vm.pk).update(state_since=at(-60))
    go(vm, Action.STOP, State.RUNNING, State.STOPPING, -30)
    assert spans(vm) == [("RUNNING", at(0), at(0)), ("STOPPING", at(0), None)]


def test_a_move_that_is_refused_meters_nothing(project: Project) -> None:
    vm = running_vm(project)
    with no_change(), pytest.raises(StateConflict):
        go(vm, Action.START, State.TERMINATED, State.PROVISIONING, 5)
    assert spans(vm) == [("RUNNING", at(0), None)]


def test_metering_costs_a_move_two_queries_of_its_own(project: Project) -> None:
    """Close and open; the shape is read with the state."""
    vm = running_vm(project)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        go(vm, Action.STOP, State.RUNNING, State.STOPPING, 10)
    mine = [q["sql"] for q in captured.captured_queries if q["sql"].startswith(("INSERT", "UPDATE"))]
    assert sum("lifecycle_meteringinterval" in sql for sql in mine) == 2
    work = [q["sql"] for q in captured.captured_queries if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN"))]
    assert len(work) == 12, "\n".join(work)  # one of them asks for webhooks


# -- random lives --------------------------------------------------------------------------------

_STEP = st.tuples(st.integers(0, 10**6), st.sampled_from([0, 0, 1, 59, 3600, -7200, 86_400 * 31, -1]))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(walk=st.lists(_STEP, min_size=1, max_size=14))
def test_whatever_happens_the_record_is_what_the_log_says(project: Project, walk: list[tuple[int, int]]) -> None:
    """A walk through the table, with clocks that stand, run on for a month, or go back."""
    with undone():
        vm, clock, state = running_vm(project), NOON, State.RUNNING
        for choice, seconds in walk:
            clock += timedelta(seconds=seconds)
            ways: list[tuple[Action, State | None]] = [
                (a, t) for a in Action for s, t in sorted(PAIRS[a]) if s is state
            ]
            if state in DEATHS:
                ways.append((Action.DELETE, None))
            action, target = ways[choice % len(ways)]
            move(vm.id, action, state, target, asked_by=Asker.OBSERVER, occurred_at=clock)
            if target is None:
                break
            state = target
        found = list(MeteringInterval.objects.filter(vm=vm).order_by("opened_by_id"))
        log = Transition.objects.filter(vm=vm).order_by("id")
        changes = [Change(row.pk, State(row.to_state) if row.to_state else None, row.occurred_at) for row in log]
        assert [Span(i.opened_by_id, State(i.state), i.started_at, i.ended_at) for i in found] == derive(changes)
        assert all(before.ended_at == after.started_at for before, after in pairwise(found))
        gone = changes[-1].target is None
        assert (found[-1].ended_at is not None) == gone
        end = max(change.occurred_at for change in changes)
        assert sum(((i.ended_at or end) - i.started_at for i in found), timedelta()) == end - NOON
        assert metering.check().differences == 0


# -- usage ---------------------------------------------------------------------------------------


def test_usage_tells_seconds_by_state_what_is_billed_and_what_is_not(project: Project) -> None:
    vm = running_vm(project, disk_gib=5)
    crash(vm, 60)
    go(vm, Action.CRASH, State.REPAIRING, State.RUNNING, 72)
    stop(vm, 90, 91)
    used = metering.usage(vm, at(0), at(120))
    assert {state: float(s) / 60 for state, s in used.by_state.items() if s} == {
        State.RUNNING: 78,
        State.REPAIRING: 12,
        State.STOPPING: 1,
        State.TERMINATED: 29,
    }
    assert used.unbilled_repair == 12 * 60
    assert used.billed.vcpu == 78 * 60 * vm.vcpus
    assert used.billed.disk == (120 - 12) * 60 * 5
    assert sla(used) == (78, 0)


def test_the_future_is_not_used_yet(project: Project) -> None:
    vm = factories.give_history(factories.make_vm(project))
    assert metering.usage(vm, timezone.now() - timedelta(days=1), timezone.now() + timedelta(days=1)).total < 60


def test_time_until_a_repair_is_recorded_is_downtime(project: Project) -> None:
    vm = running_vm(project)
    crash(vm, 60)
    recorded(vm, 65)
    go(vm, Action.CRASH, State.REPAIRING, State.RUNNING, 80)
    used = metering.usage(vm, at(0), at(100))
    assert sla(used) == (80, 5)


def failed_vm(project: Project) -> VM:
    """RUNNING for an hour, then TERMINATED because its repair failed."""
    vm = running_vm(project)
    crash(vm, 60)
    go(vm, Action.CRASH, State.REPAIRING, State.TERMINATED, 60)
    return vm


def test_terminated_by_a_failure_is_downtime_until_the_next_start(project: Project) -> None:
    vm = failed_vm(project)
    start(vm, 90, 91)
    used = metering.usage(vm, at(0), at(121))
    assert sla(used) == (90, 30)
    assert used.availability == used.up / (120 * 60)


def test_a_start_that_failed_ends_no_downtime(project: Project) -> None:
    vm = failed_vm(project)
    go(vm, Action.START, State.TERMINATED, State.PROVISIONING, 70)
    go(vm, Action.START, State.PROVISIONING, State.TERMINATED, 71)
    assert metering.usage(vm, at(60), at(100)).down == (10 + 29) * 60


def test_what_its_user_stopped_is_no_downtime_even_when_a_start_fails(project: Project) -> None:
    vm = running_vm(project)
    stop(vm, 10, 11)
    go(vm, Action.START, State.TERMINATED, State.PROVISIONING, 20)
    go(vm, Action.START, State.PROVISIONING, State.TERMINATED, 21)
    assert metering.usage(vm, at(0), at(60)).down == 0


def test_a_failure_that_its_user_ended_by_a_stop_is_no_downtime(project: Project) -> None:
    vm = running_vm(project)
    crash(vm, 60)
    go(vm, Action.STOP, State.REPAIRING, State.STOPPING, 61)
    go(vm, Action.STOP, State.STOPPING, State.TERMINATED, 62)
    assert metering.usage(vm, at(0), at(120)).down == 0


def test_a_failure_is_known_to_a_month_it_began_before(project: Project) -> None:
    vm = failed_vm(project)
    assert metering.usage(vm, at(600), at(660)).down == 1 * HOURS


def test_a_project_uses_what_its_vms_use(project: Project) -> None:
    vms = [running_vm(project) for _ in range(3)]
    stop(vms[0], 30, 30)
    running_vm(factories.make_project())
    used = metering.project_usage(project, at(0), at(60))
    assert used.by_state[State.RUNNING] == (30 + 60 + 60) * 60
    assert used.total == 3 * HOURS


def test_usage_is_one_query_whatever_happened(project: Project) -> None:
    vm = running_vm(project)
    stop(vm, 1, 2)
    start(vm, 3, 4)
    with CaptureQueriesContext(connection) as captured:
        metering.usage(vm, at(0), at(60))
        metering.project_usage(project, at(0), at(60))
    assert len(captured) == 2


# -- derived again -------------------------------------------------------------------------------


def rebuild(word: str) -> str:
    out = StringIO()
    call_command("rebuild_metering", word, stdout=out)
    return out.getvalue()


def test_what_the_services_wrote_is_what_the_log_says(project: Project) -> None:
    vms = [running_vm(project) for _ in range(3)]
    stop(vms[0], 10, 11)
    go(vms[1], Action.DELETE, State.RUNNING, State.STOPPING, 5)
    go(vms[1], Action.DELETE, State.STOPPING, None, 8)
    assert rebuild("--check") == "No difference: 3 VMs and 0 images were compared with their log.\n"


def damage(vm: VM) -> None:
    """What the guards do not refuse: intervals that are lost, or too many, or too early."""
    MeteringInterval.objects.filter(vm=vm, state="STOPPING").delete()
    last = MeteringInterval.objects.get(vm=vm, ended_at=None)
    MeteringInterval.objects.filter(pk=last.pk).delete()
    last.pk, last.started_at, last.state = None, at(45), State.SUSPENDED
    last.save()


def test_every_difference_is_found_and_told(project: Project) -> None:
    vm = running_vm(project)
    stop(vm, 10, 20)
    damage(vm)
    report = metering.check()
    assert report.differences == 2
    assert "missing: STOPPING" in report.words[0]
    assert "recorded SUSPENDED" in report.words[1]
    assert all(vm.name in line and str(vm.pk) in line for line in report.words)
    assert metering.check(limit=1).words == report.words[:1]
    assert metering.check(limit=1).differences == 2
    with pytest.raises(CommandError, match="2 differences"):
        rebuild("--check")


def test_a_repair_writes_what_differs_and_leaves_the_rest(project: Project) -> None:
    vm, other = running_vm(project), running_vm(project)
    stop(vm, 10, 20)
    kept = set(MeteringInterval.objects.filter(state="RUNNING").values_list("pk", flat=True))
    before = spans(vm)
    damage(vm)
    told = rebuild("--repair")
    assert "missing: STOPPING" in told
    assert "intervals written as the log says: 2" in told
    assert "No difference: 2 VMs" in told
    assert str(other.pk) not in told
    assert spans(vm) == before
    assert kept <= set(MeteringInterval.objects.values_list("pk", flat=True))


def test_a_repair_keeps_the_shape_of_the_time(project: Project) -> None:
    vm = running_vm(project, disk_gib=3)
    stop(vm, 10, 20)
    VM.objects.filter(pk=vm.pk).update(vcpus=8)
    damage(vm)
    metering.repair(vm.pk)
    assert set(MeteringInterval.objects.filter(vm=vm).values_list("vcpus", "disk_gib")) == {(vm.vcpus, 3)}


def test_a_vm_that_nobody_metered_gets_its_intervals_with_the_shape_of_now(project: Project) -> None:
    vm = running_vm(project)
    stop(vm, 10, 20)
    before = spans(vm)
    MeteringInterval.objects.all().delete()
    assert metering.repair(vm.pk) == 3
    assert spans(vm) == before


def test_a_vm_that_is_not_where_its_log_ends_is_a_difference_no_repair_hides(project: Project) -> None:
    vm = running_vm(project)
    VM.objects.filter(pk=vm.pk).update(state=State.TERMINATED)
    assert "the log ends in RUNNING, the VM is TERMINATED" in metering.check().words[0]
    with pytest.raises(CommandError):
        rebuild("--repair")


def test_neither_word_said_changes_nothing(project: Project) -> None:
    with no_change(), pytest.raises(CommandError):
        call_command("rebuild_metering")


def test_the_number_of_queries_of_a_check_does_not_grow_with_the_vms(project: Project) -> None:
    counts = []
    for _round in range(2):
        for _ in range(3):
            running_vm(project)
        with CaptureQueriesContext(connection) as captured:
            assert metering.check().vms
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_a_check_looks_at_every_vm_in_batches(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "VMS_AT_ONCE", 2)
    vms = [running_vm(project) for _ in range(5)]
    MeteringInterval.objects.all().delete()
    report = metering.check()
    assert (report.vms, report.differences) == (5, 5)
    assert set(metering.vms_that_differ()) == {vm.pk for vm in vms}


def test_a_vm_without_a_log_is_metered_from_its_next_transition_on(project: Project) -> None:
    """As the rows of a process of the version before."""
    vm = factories.make_vm(project, state_since=NOON)
    stop(vm, 5, 6)
    assert spans(vm) == [("STOPPING", at(5), at(6)), ("TERMINATED", at(6), None)]
    assert metering.check().differences == 0


def test_a_birth_meters_the_disks_it_finds(project: Project) -> None:
    vm = factories.make_vm(project, state=State.PROVISIONING, disk_gib=9)
    born(vm, Action.CREATE, asked_by=Asker.USER)
    assert MeteringInterval.objects.get(vm=vm).disk_gib == 9
