"""Schedules: each due time is taken once, the late ones are skipped and written down, and hints lead to them."""

from datetime import UTC, datetime, time, timedelta

import pytest
import time_machine

from lifecycle import tasks
from lifecycle.domain.errors import Forbidden, InvalidInput, NotFound
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.domain.usage import HOUR, summary_of
from lifecycle.models import (
    VM,
    AuditEntry,
    Host,
    IdleHint,
    Notification,
    Operation,
    Project,
    Schedule,
    ScheduleRun,
    User,
    VMUsage,
)
from lifecycle.repair import schedules as rounds
from lifecycle.services import idle, operations, prices, schedules
from lifecycle.services.schedules import Wish
from tests import factories
from tests.services.tools import at_once, no_change, refusal, undone

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

#: A Monday.
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVERY_DAY = tuple(range(7))


def wish(action: str = "stop", at: time = time(19), days: tuple[int, ...] = EVERY_DAY, zone: str = "UTC") -> Wish:
    return Wish(action, at, days, zone)


def at(day: int, hour: float) -> datetime:
    """A moment of that day, 2 is the Monday."""
    return datetime(2026, 3, day, tzinfo=UTC) + timedelta(hours=hour)


@pytest.fixture
def vm(project: Project, host: Host, catalog: None) -> VM:
    return factories.make_vm(project, "web-1", State.RUNNING)


def add(vm: VM, user: User, what: Wish | None = None) -> Schedule:
    with time_machine.travel(NOW, tick=False):
        return schedules.add(vm, what or wish(), user=user)


def outcomes() -> list[str]:
    return list(ScheduleRun.objects.order_by("due_at", "pk").values_list("outcome", flat=True))


def sweep(moment: datetime) -> int:
    with time_machine.travel(moment, tick=False):
        return sum(rounds.sweep(moment).values())


# -- written -------------------------------------------------------------------------------------


def test_who_may_use_the_vm_writes_its_schedules(
    vm: VM, owner: User, operator: User, viewer: User, stranger: User
) -> None:
    row = add(vm, operator)
    assert row.next_at == at(2, 19)
    for user, error in ((viewer, Forbidden), (stranger, NotFound)):
        with refusal(error):
            schedules.add(vm, wish("start"), user=user)
        with refusal(error):
            schedules.skip(vm, row.pk, True, user=user)
        with refusal(error):
            schedules.remove(vm, row.pk, user=user)
        with refusal(error):
            schedules.keep_office_hours(vm, user=user)
    schedules.skip(vm, row.pk, True, user=owner)
    schedules.remove(vm, row.pk, user=owner)
    found = AuditEntry.objects.filter(target="web-1").order_by("pk").values_list("action", "who")
    assert list(found) == [("schedule.add", "otto"), ("schedule.skip", "olivia"), ("schedule.remove", "olivia")]


@pytest.mark.parametrize("wrong", [wish("delete"), wish(days=()), wish(days=(9,)), wish(zone="Mars")])
def test_what_is_no_schedule_is_refused(vm: VM, owner: User, wrong: Wish) -> None:
    with refusal(InvalidInput):
        schedules.add(vm, wrong, user=owner)


def test_the_same_twice_and_too_many_are_refused(vm: VM, owner: User) -> None:
    add(vm, owner)
    with refusal(InvalidInput, match="already"):
        add(vm, owner)
    for number in range(19):
        add(vm, owner, wish(at=time(1, number)))
    with refusal(InvalidInput, match="at most 20"):
        add(vm, owner, wish(at=time(2)))


def test_another_vm_s_schedule_is_not_found(vm: VM, owner: User) -> None:
    row = add(vm, owner)
    other = factories.make_vm(vm.project)
    with refusal(NotFound):
        schedules.remove(other, row.pk, user=owner)


def test_office_hours_are_made_once_in_the_project_s_zone(vm: VM, owner: User) -> None:
    prices.change_account(vm.project, {"time_zone": "Europe/Berlin"}, user=owner)
    for _number in range(2):
        schedules.keep_office_hours(vm, user=owner)
    found = Schedule.objects.order_by("at").values_list("action", "at", "days", "time_zone")
    assert list(found) == [
        ("start", time(8), "01234", "Europe/Berlin"),
        ("stop", time(19), "01234", "Europe/Berlin"),
    ]


# -- taken ---------------------------------------------------------------------------------------


def test_a_due_time_is_taken_once(vm: VM, owner: User) -> None:
    row = add(vm, owner)
    assert sweep(at(2, 18.99)) == 0
    assert sweep(at(2, 19)) == 1
    operation = Operation.objects.get()
    assert (operation.action, operation.asked_by, operation.user) == ("stop", "schedule", None)
    assert VM.objects.get(pk=vm.pk).state == State.STOPPING
    assert ScheduleRun.objects.get().operation == operation
    assert sweep(at(2, 19.01)) == 0
    row.refresh_from_db()
    assert row.next_at == at(3, 19)
    assert Notification.objects.count() == 0


def test_an_earlier_claim_of_the_same_time_takes_nothing(vm: VM, owner: User) -> None:
    row = add(vm, owner)
    assert schedules.take(row.pk, at(2, 19), at(2, 19)) is not None
    with no_change():
        assert schedules.take(row.pk, at(2, 19), at(2, 19)) is None
        assert schedules.take(row.pk + 1, at(2, 19), at(2, 19)) is None


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_takes_it(transactional_db: None, vm: VM, owner: User) -> None:
    row = add(vm, owner)
    found = at_once([lambda: schedules.take(row.pk, at(2, 19), at(2, 19)) for _number in range(6)])
    assert sum(isinstance(run, ScheduleRun) for run in found) == 1
    assert found.count(None) == 5
    assert Operation.objects.count() == 1


def test_a_crash_before_the_commit_forgets_nothing(vm: VM, owner: User) -> None:
    row = add(vm, owner)
    with undone():
        assert schedules.take(row.pk, at(2, 19), at(2, 19))
    assert not Operation.objects.exists()
    assert sweep(at(2, 19)) == 1


def test_stop_by_night_and_start_by_day(vm: VM, owner: User) -> None:
    add(vm, owner)
    add(vm, owner, wish("start", time(8)))
    sweep(at(2, 19))
    operations.close(Operation.objects.get().pk)
    VM.objects.filter(pk=vm.pk).update(state=State.TERMINATED)
    sweep(at(3, 8))
    assert list(Operation.objects.order_by("insert_time").values_list("action", flat=True)) == ["stop", "start"]
    assert outcomes() == ["asked", "asked"]


@pytest.mark.parametrize(
    ("state", "action"),
    [(State.RUNNING, "start"), (State.REPAIRING, "start"), (State.TERMINATED, "stop"), (State.SUSPENDED, "stop")],
)
def test_what_is_so_already_needs_nothing(project: Project, host: Host, owner: User, state: State, action: str) -> None:
    add(factories.make_vm(project, "other", state), owner, wish(action))
    assert sweep(at(2, 19)) == 1
    assert outcomes() == ["nothing"]
    assert not Operation.objects.exists()


def test_the_next_time_is_skipped_once(vm: VM, owner: User) -> None:
    row = add(vm, owner)
    schedules.skip(vm, row.pk, True, user=owner)
    sweep(at(2, 19))
    sweep(at(3, 19))
    assert outcomes() == ["skipped", "asked"]
    schedules.skip(vm, row.pk, True, user=owner)
    schedules.skip(vm, row.pk, False, user=owner)
    row.refresh_from_db()
    assert not row.skip_next


def test_times_that_were_missed_are_written_down_and_not_made_up_for(vm: VM, owner: User) -> None:
    add(vm, owner)
    add(vm, owner, wish("start", time(8)))
    assert sweep(at(5, 12)) == 6  # three evenings, three mornings
    assert outcomes() == ["missed"] * 6
    assert not Operation.objects.exists()
    assert Notification.objects.filter(kind="schedule").count() == 12  # an owner and an operator
    assert sweep(at(5, 19)) == 1


def test_a_little_late_is_made_up_for(vm: VM, owner: User) -> None:
    add(vm, owner)
    sweep(at(2, 19.24))
    assert outcomes() == ["asked"]


def test_it_waits_for_what_is_under_way_and_not_for_ever(vm: VM, owner: User) -> None:
    add(vm, owner)
    busy = factories.make_operation(vm, Action.RESET)
    assert sweep(at(2, 19)) == 0
    with undone():
        operations.close(busy.pk)
        assert sweep(at(2, 19.1)) == 1
        assert outcomes() == ["asked"]
    assert sweep(at(2, 19.5)) == 1
    assert outcomes() == ["missed"]


def test_a_refusal_is_written_down_with_its_reason_and_told(project: Project, host: Host, owner: User) -> None:
    vm = factories.make_vm(project, "resting", State.SUSPENDED)
    add(vm, owner, wish("start"))
    sweep(at(2, 19))
    run = ScheduleRun.objects.get()
    assert run.outcome == "refused"
    assert run.error is not None
    assert run.error["code"] == "ACTION_NOT_ALLOWED"
    assert "resume" in run.error["message"]
    assert set(Notification.objects.values_list("kind", "user__username")) == {
        ("schedule", "olivia"),
        ("schedule", "otto"),
    }


def test_those_who_can_act_are_told_when_a_scheduled_start_fails(vm: VM, owner: User) -> None:
    operation = factories.make_operation(vm, Action.START, asked_by="schedule")
    operations.close(operation.pk, error={"code": "X", "message": "no"})
    assert set(Notification.objects.values_list("user__username", flat=True)) == {"olivia", "otto"}


def test_a_deleted_vm_s_schedules_rest(vm: VM, owner: User) -> None:
    add(vm, owner)
    VM.objects.filter(pk=vm.pk).update(deleted_at=NOW, state=State.TERMINATED)
    assert sweep(at(2, 19)) == 0


def test_one_schedule_s_trouble_stops_no_other(vm: VM, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = add(vm, owner, wish(at=time(18)))
    add(vm, owner)
    real = schedules.take

    def take(schedule_id: int, due_at: datetime, now: datetime) -> ScheduleRun | None:
        if schedule_id == broken.pk:
            raise RuntimeError("an injected fault")
        return real(schedule_id, due_at, now)

    monkeypatch.setattr(schedules, "take", take)
    assert sweep(at(2, 19)) == 1


def test_the_task_and_the_workers_own_look_take_turns(vm: VM, owner: User) -> None:
    add(vm, owner)
    with time_machine.travel(at(2, 19), tick=False):
        assert tasks.run_schedules() == 1
        assert rounds.run() is None  # its pause is not over


# -- hints ---------------------------------------------------------------------------------------


def usage(vm: VM, hours: int, cpu: float = 0.01, network: float = 10) -> None:
    end = int(NOW.timestamp()) // HOUR * HOUR
    packed = summary_of((cpu, 64, 0, 0, network, network)).pack()
    rows = [VMUsage(vm=vm, length=HOUR, begin=end - n * HOUR, packed=packed) for n in range(1, hours + 1)]
    VMUsage.objects.bulk_create(rows)


@pytest.fixture
def old(vm: VM) -> VM:
    VM.objects.filter(pk=vm.pk).update(state_since=NOW - timedelta(days=9))
    return vm


def test_an_idle_vm_gets_a_hint_that_goes_when_it_is_busy(old: VM) -> None:
    usage(old, 72)
    assert idle.look(NOW) == 1
    hint = IdleHint.objects.get()
    assert (hint.vm, round(hint.cpu_percent, 2), hint.network) == (old, 1.0, 20.0)
    assert list(idle.hints(old.project)) == [hint]
    first = hint.since
    idle.look(NOW + timedelta(hours=1))
    hint.refresh_from_db()
    assert hint.since == first
    VMUsage.objects.filter(begin=VMUsage.objects.latest("begin").begin).update(
        packed=summary_of((0.9, 64, 0, 0, 1, 1)).pack()
    )
    assert idle.look(NOW) == 0
    assert not IdleHint.objects.exists()


@pytest.mark.parametrize("case", ["busy", "network", "few", "young", "stopped"])
def test_what_is_not_idle_gets_none(old: VM, case: str) -> None:
    usage(old, 30 if case == "few" else 72, 0.5 if case == "busy" else 0.01, 5000 if case == "network" else 10)
    if case == "young":
        VM.objects.filter(pk=old.pk).update(state_since=NOW - timedelta(days=1))
    if case == "stopped":
        VM.objects.filter(pk=old.pk).update(state=State.TERMINATED)
    assert idle.look(NOW) == 0
    assert not IdleHint.objects.exists()


def test_a_stopped_vm_loses_its_hint(old: VM) -> None:
    usage(old, 72)
    idle.look(NOW)
    VM.objects.filter(pk=old.pk).update(state=State.TERMINATED)
    assert list(idle.hints(old.project)) == []
    idle.look(NOW)
    assert not IdleHint.objects.exists()


def test_a_hint_is_dismissed_by_who_may_use_the_vm(old: VM, operator: User, viewer: User, stranger: User) -> None:
    usage(old, 72)
    idle.look(NOW)
    for user, error in ((viewer, Forbidden), (stranger, NotFound)):
        with refusal(error):
            idle.dismiss(old, NOW, user=user)
    idle.dismiss(old, NOW, user=operator)
    idle.look(NOW + timedelta(hours=1))
    assert list(idle.hints(old.project)) == []
    with refusal(NotFound):
        idle.dismiss(old, NOW, user=operator)


def test_looking_takes_a_constant_number_of_queries(
    old: VM, django_assert_max_num_queries: pytest.FixtureRequest
) -> None:
    for number in range(5):
        other = factories.make_vm(old.project, f"vm-{number}", State.RUNNING, state_since=NOW - timedelta(days=9))
        usage(other, 72)
    assert idle.look(NOW) == 5
    with django_assert_max_num_queries(20):  # type: ignore[operator]
        idle.look(NOW)


def test_the_task_looks_by_itself(old: VM) -> None:
    usage(old, 72)
    with time_machine.travel(NOW, tick=False):
        assert tasks.look_for_idle() == 1
