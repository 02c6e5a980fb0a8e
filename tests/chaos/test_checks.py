"""The checks of chaos find what they are for: each is given a record that is wrong in one thing."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Address, Host, MeteringInterval, Operation, Project, Reservation, Transition
from tests import factories
from tests.chaos import invariants
from tests.chaos.report import Report, Row, rows_of
from tests.chaos.site import PROJECT, Site
from tests.chaos.timeline import Timeline

pytestmark = pytest.mark.django_db

Check = Callable[[dict[str, VM]], list[str]]


@pytest.fixture
def vm(host: Host, catalog: None) -> VM:
    """A VM of the project that chaos uses, RUNNING."""
    return factories.give_history(factories.make_vm(factories.make_project(PROJECT), "web-1", State.RUNNING, host=host))


def found() -> list[str]:
    """What the checks of the books say."""
    vms = {str(vm.pk): vm for vm in VM.objects.live().filter(project__slug=PROJECT)}
    return [
        *invariants._at_rest(vms),
        *invariants._operations(),
        *invariants._histories(),
        *invariants._capacity(vms),
        *invariants._quota(vms),
        *invariants._repairs(),
        *invariants._metering(),
    ]


def test_a_vm_at_rest_is_fine(vm: VM) -> None:
    assert found() == []
    assert invariants.unquiet() == []


def stuck_operation(vm: VM) -> None:
    factories.make_operation(vm, Action.STOP)


def stuck_state(vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(state=State.STOPPING)


def lost_capacity(vm: VM) -> None:
    Reservation.objects.filter(vm=vm).update(vcpus=0)


def leaked_capacity(vm: VM) -> None:
    Host.objects.update(vcpus_reserved=vm.vcpus + 1)


def torn_history(vm: VM) -> None:
    Transition.objects.create(
        vm=vm, number=Transition.objects.latest("number").number + 1, from_state=State.REPAIRING,
        to_state=State.RUNNING, action=Action.REPAIR, asked_by="observer", occurred_at=timezone.now(),
    )  # fmt: skip


def ended_twice(vm: VM) -> None:
    now = timezone.now()
    operation = Operation.objects.create(
        project=vm.project, vm=vm, target_name=vm.name, action=Action.STOP, status="DONE", progress=100,
        insert_time=now, end_time=now,
    )  # fmt: skip
    last = Transition.objects.filter(vm=vm).latest("id")
    for state in (State.STOPPING, State.TERMINATED, State.PROVISIONING, State.STAGING, State.RUNNING):
        last = Transition.objects.create(
            vm=vm, number=last.number + 1, from_state=last.to_state, to_state=state, action=Action.STOP,
            operation=operation, asked_by="user", occurred_at=timezone.now(),
        )  # fmt: skip


def unmetered(vm: VM) -> None:
    MeteringInterval.objects.filter(vm=vm).delete()


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (stuck_operation, "operation"),
        (stuck_state, "state"),
        (lost_capacity, "capacity"),
        (leaked_capacity, "capacity"),
        (torn_history, "history"),
        (ended_twice, "history"),
        (unmetered, "metering"),
    ],
)
def test_what_is_wrong_is_found(vm: VM, wrong: Callable[[VM], None], kind: str) -> None:
    wrong(vm)
    assert any(line.startswith(f"{kind}:") for line in found())


def test_a_deleted_vms_address_is_found(vm: VM) -> None:
    Address.objects.filter(vm=vm).update(vm=None)

    class Nothing:
        def listAllNetworks(self) -> list[object]:  # noqa: N802  # libvirt's name
            return []

    said = list(invariants._addresses(Nothing(), {str(vm.pk): vm}, "000000"))
    assert said == ["address: web-1 has none"]


# -- the report ------------------------------------------------------------------------------------


def test_a_fault_counts_when_it_met_something_and_is_survived_when_that_ended(vm: VM, project: Project) -> None:
    begin = timezone.now().timestamp()
    operation = factories.make_operation(vm, Action.STOP)
    timeline = Timeline()
    timeline.add("fault", "worker-kill", "worker-1", counts=True, operations=[str(operation.pk)])
    timeline.add("fault", "worker-kill", "worker-2", counts=False, operations=[])
    [row] = [row for row in rows_of(timeline, begin) if row.kind == "worker-kill"]
    assert (row.injected, row.counted, row.survived) == (2, 1, 0)
    end = timezone.now() + timedelta(seconds=5)
    Operation.objects.filter(pk=operation.pk).update(status="DONE", end_time=end, recovered=1)
    [row] = [row for row in rows_of(timeline, begin) if row.kind == "worker-kill"]
    assert (row.survived, row.recovered) == (1, 1)
    assert 4 < row.longest < 60


def test_the_report_says_each_violation() -> None:
    report = Report(1, 20, "sqlite", [Row("redis-kill", 3, 2, 2)], {}, {}, 1.0, ["volume: x belongs to no VM"])
    assert report.counted == 2
    assert "VIOLATION volume: x belongs to no VM" in report.text()
    assert "| redis-kill | 3 | 2 | 2 |" in report.text()


def test_a_host_that_does_not_answer_is_wrong_and_ends_no_run(tmp_path: Path) -> None:
    site = Site(tmp_path)  # nothing of it was started
    assert [line.partition(":")[0] for line in invariants.violations(site)] == ["host"]
