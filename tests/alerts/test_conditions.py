"""What is an alert: each condition, made of real rows, opens its alert, and its end closes it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from lifecycle.domain import alerts as domain
from lifecycle.domain.alerts import HOLD, TEXTS, Condition, Kind, backoff_seconds, beat_silent, held
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Alert, Cleanup, Finding, Host, HostLease, Operation, Project, Repair, Round, User
from lifecycle.operations import registry
from lifecycle.repair import alerts
from lifecycle.repair.periodic import TIMER
from lifecycle.services import alerts as services
from lifecycle.services import periodic
from lifecycle.services.transitions import move
from tests import factories

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _in_order(host: Host) -> None:
    """A host that is watched, and beat at work."""
    watch(host, "watcher:1")
    periodic.put_right(report_missing=False)


def watch(host: Host, owner: str, seconds: float = 600.0) -> None:
    HostLease.objects.filter(host=host).delete()
    HostLease.objects.create(host=host, purpose="watch", owner=owner, expires_at=ago(seconds=-seconds))


def ago(**time: float) -> Any:
    return timezone.now() - timedelta(**time)


def found() -> set[str]:
    """The kinds of all conditions that hold now."""
    return {c.kind.value for c in alerts.conditions(registry.DEADLINES, timezone.now())}


def the(kind: Kind) -> Condition:
    return next(c for c in alerts.conditions(registry.DEADLINES, timezone.now()) if c.kind is kind)


def test_nothing_is_wrong_where_all_is_well(project: Project) -> None:
    for state in (State.RUNNING, State.TERMINATED, State.SUSPENDED):
        factories.make_vm(project, state=state)
    factories.make_operation(factories.make_vm(project), Action.STOP, steps=("ask_guest",))
    assert found() == set()


# -- operations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("undoing", [False, True])
def test_a_step_past_its_deadline(project: Project, undoing: bool) -> None:
    vm = factories.make_vm(project)
    operation = factories.make_operation(
        vm, Action.STOP, steps=("ask_guest", "await_shutdown"), status="RUNNING", undoing=undoing
    )
    Operation.objects.update(step_started_at=ago(seconds=140), lease_until=ago(seconds=-20))
    assert found() == set()
    Operation.objects.update(step_started_at=ago(seconds=160))
    condition = the(Kind.STEP_OVERDUE)
    assert condition.operation_id == operation.pk
    assert condition.text % condition.params == f"stop of {vm.name} in lab: “ask_guest” is past its deadline of 120 s."
    Operation.objects.update(step_index=1)  # the guest has two hours to shut down
    assert found() == set()


@pytest.mark.parametrize(("step", "told"), [("await_shutdown", True), ("ask_guest", False)])
def test_a_step_that_says_itself_when_it_ought_to_be_over(project: Project, step: str, told: bool) -> None:
    vm = factories.make_vm(project)
    operation = factories.make_operation(vm, Action.STOP, steps=("ask_guest", "await_shutdown"), status="RUNNING")
    by = ago(seconds=31)
    expected, begun = {"expected": {"step": step, "by": by.isoformat()}}, by - timedelta(seconds=210)
    Operation.objects.update(step_index=1, step_started_at=begun, data=expected, lease_until=ago(seconds=-20))
    assert found() == ({"step_overdue"} if told else set())
    if told:
        params = the(Kind.STEP_OVERDUE).params
        assert (params["vm"], params["deadline"]) == (operation.target_name, "210")


def test_a_done_operation_is_past_nothing(project: Project) -> None:
    factories.make_operation(factories.make_vm(project), Action.STOP, steps=("ask_guest",))
    Operation.objects.update(status="DONE", end_time=ago(seconds=-1), step_started_at=ago(days=1), due_at=ago(days=1))
    assert found() == set()


def test_a_repair_waits_for_its_host_without_a_deadline_of_its_steps() -> None:
    assert {action for action, _step in registry.DEADLINES} == set(registry.DEFINITIONS) - {"repair"}


def test_operations_that_nobody_takes_up(project: Project) -> None:
    factories.make_operation(factories.make_vm(project), Action.STOP, due_at=ago(seconds=50))
    assert found() == set()
    Operation.objects.update(due_at=ago(seconds=70))
    assert found() == {"untouched"}
    Operation.objects.update(lease_until=ago(seconds=-10))
    assert found() == set()
    Operation.objects.update(lease_until=ago(seconds=70))  # its worker died, and no other came
    assert found() == {"untouched"}


# -- VMs -----------------------------------------------------------------------------------------


def test_a_vm_that_stays_in_repair(project: Project) -> None:
    vm = factories.make_vm(project, state=State.REPAIRING)
    assert found() == set()
    VM.objects.update(state_since=ago(minutes=11))
    assert the(Kind.REPAIRING).vm_id == vm.pk


def repair(vm: VM, **fields: Any) -> Repair:
    defaults = {"cause": "crash", "summary": "x", "prior_state": "RUNNING", "opened_by": Asker.OBSERVER}
    ended = {"opened_at": ago(minutes=2), "closed_at": ago(minutes=1), "outcome": "restarted"}
    return Repair.objects.create(vm=vm, **(defaults | ended | fields))


def test_a_vm_that_is_repaired_again_and_again(project: Project) -> None:
    vm, other = factories.make_vm(project), factories.make_vm(project)
    for _time in range(2):
        repair(vm)
        repair(other)
    repair(other, opened_at=ago(days=2), closed_at=ago(days=2))
    assert found() == set()
    repair(vm)
    assert the(Kind.VM_FLAPPING).params["number"] == "3"
    assert the(Kind.VM_FLAPPING).vm_id == vm.pk


def test_a_repair_that_was_given_up_until_the_vm_comes_up(project: Project) -> None:
    vm = factories.make_vm(project, state=State.TERMINATED)
    repair(vm, outcome="gave_up", outcome_text="no space left")
    assert the(Kind.REPAIR_GAVE_UP).params["why"] == "no space left"
    move(vm.pk, Action.START, State.TERMINATED, State.PROVISIONING, asked_by=Asker.USER)
    assert found() == set()
    move(vm.pk, Action.STOP, State.PROVISIONING, State.STOPPING, asked_by=Asker.USER)
    move(vm.pk, Action.STOP, State.STOPPING, State.TERMINATED, asked_by=Asker.USER)
    assert found() == set()  # stopped by its user since


def test_a_repair_that_was_given_up_until_the_vm_is_gone(project: Project) -> None:
    vm = factories.make_vm(project, state=State.TERMINATED)
    repair(vm, outcome="gave_up")
    assert found() == {"repair_gave_up"}
    VM.objects.update(deleted_at=timezone.now())
    assert found() == set()


def test_a_repair_that_was_given_up_until_somebody_took_note(project: Project, superuser: User) -> None:
    repair(factories.make_vm(project, state=State.TERMINATED), outcome="gave_up")
    services.sync(domain.COLLECTED, [the(Kind.REPAIR_GAVE_UP)])
    services.acknowledge(services.open_alerts().get(), superuser)
    assert not services.open_alerts().exists()
    assert found() == set()


# -- hosts ---------------------------------------------------------------------------------------


def test_a_host_that_is_down(host: Host) -> None:
    Host.objects.update(health="down", health_reason="no route")
    assert the(Kind.HOST_DOWN).params == {"host": host.name, "reason": "no route"}


def test_a_host_that_nobody_watches(host: Host) -> None:
    watch(host, "watcher:1", seconds=-1)
    assert found() == {"host_unwatched"}
    watch(host, f"{TIMER}worker:1")  # looked at now and then is not watched
    assert found() == {"host_unwatched"}


def test_a_host_that_is_kept_from_new_vms() -> None:
    Host.objects.update(kept_out_until=ago(minutes=1))
    assert found() == set()
    Host.objects.update(kept_out_until=ago(minutes=-1))
    assert found() == {"host_flapping"}


def test_findings_are_one_alert_a_host_until_all_are_chosen(host: Host) -> None:
    for number in range(3):
        Finding.objects.create(host=host, kind="unknown_volume", subject=f"v{number}", text="x")
    assert the(Kind.FINDINGS).params["number"] == "3"
    Finding.objects.filter(subject="v0").update(choice="adopt")
    Finding.objects.filter(subject="v1").update(closed_at=timezone.now())
    assert the(Kind.FINDINGS).params["number"] == "1"
    Finding.objects.update(choice="ignore")
    assert found() == set()


def test_a_cleanup_that_waits_long(project: Project, host: Host) -> None:
    Cleanup.objects.create(vm=factories.make_vm(project), host=host)
    assert found() == set()
    Cleanup.objects.update(created_at=ago(hours=2))
    assert found() == {"cleanup"}
    Cleanup.objects.update(done_at=timezone.now())
    assert found() == set()


# -- beat ----------------------------------------------------------------------------------------


def test_a_beat_that_sends_nothing() -> None:
    PeriodicTask.objects.update(last_run_at=ago(minutes=6))
    assert found() == {"beat_silent"}
    PeriodicTask.objects.filter(name="lifecycle.reconcile_hosts").update(last_run_at=ago(minutes=4))
    assert found() == set()


def test_a_beat_that_never_sent_anything() -> None:
    PeriodicTask.objects.update(last_run_at=None, date_changed=ago(minutes=6))
    assert found() == {"beat_silent"}


def test_without_tasks_no_beat_is_missed() -> None:
    assert beat_silent(None, timezone.now()) is None


# -- the round -----------------------------------------------------------------------------------


def round_is_due() -> None:
    Round.objects.update(due_at=ago(seconds=1))


def test_the_round_opens_and_closes_alerts() -> None:
    Host.objects.update(kept_out_until=ago(minutes=-1))
    assert alerts.look(registry.DEADLINES) == services.Changes(opened=1)
    Host.objects.update(kept_out_until=None)
    round_is_due()
    assert alerts.look(registry.DEADLINES) == services.Changes(resolved=1)
    assert Alert.objects.get().resolved_at is not None


def test_the_round_is_done_once_in_ten_seconds() -> None:
    begin = timezone.now()
    assert alerts.look(registry.DEADLINES) is not None
    end = timezone.now()
    assert alerts.look(registry.DEADLINES) is None
    pause = timedelta(seconds=10)
    assert begin + pause <= Round.objects.get(name="alerts").due_at <= end + pause


def test_what_comes_and_goes_at_a_restart_is_an_alert_only_when_it_lasts(host: Host) -> None:
    watch(host, "watcher:1", seconds=-1)
    assert alerts.look(registry.DEADLINES) == services.Changes()
    memory = Round.objects.get(name="alerts").memory
    assert list(memory) == [f"host_unwatched:{host.pk}"]
    Round.objects.update(due_at=ago(seconds=1), memory={key: ago(seconds=61).isoformat() for key in memory})
    assert alerts.look(registry.DEADLINES) == services.Changes(opened=1)
    watch(host, "watcher:2")
    round_is_due()
    assert alerts.look(registry.DEADLINES) == services.Changes(resolved=1)
    assert Round.objects.get(name="alerts").memory == {}


def test_the_round_asks_the_same_number_of_queries_whatever_there_is(
    project: Project, host: Host, django_assert_max_num_queries: Any
) -> None:
    for _n in range(4):
        vm = factories.make_vm(project, state=State.TERMINATED)
        repair(vm, outcome="gave_up")
        factories.make_operation(vm, Action.START, steps=("reserve_capacity",), step_started_at=ago(days=1))
        Finding.objects.create(host=host, kind="unknown_volume", subject=vm.name, text="x")
    with django_assert_max_num_queries(11):
        assert len(list(alerts.conditions(registry.DEADLINES, timezone.now()))) == 9


# -- pure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_its_words(kind: Kind) -> None:
    assert TEXTS[kind].endswith((".", "s"))
    assert len(kind.value) <= 30  # its column


@pytest.mark.parametrize("kind", HOLD)
def test_a_condition_must_last_from_when_it_was_first_seen(kind: Kind) -> None:
    now, condition = timezone.now(), Condition(kind, "x")
    assert held([condition], {}, now) == ([], {condition.key: now})
    early = now - HOLD[kind] + timedelta(seconds=1)
    assert held([condition], {condition.key: early}, now) == ([], {condition.key: early})
    long = now - HOLD[kind]
    assert held([condition], {condition.key: long}, now) == ([condition], {condition.key: long})
    assert held([], {condition.key: long}, now) == ([], {})  # from the beginning, the next time


def test_pauses_grow_up_to_an_hour() -> None:
    pauses = [backoff_seconds(n) for n in range(1, 12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (10.0, 3600.0)
