"""A database of the version before, with VMs in the middle of their lives, gets its intervals from its log."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, MeteringInterval, Project, Transition, guards
from lifecycle.services import metering
from lifecycle.services.transitions import move
from tests import factories

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("host")]

BEFORE = ("lifecycle", "0002_transitions_as_in_the_table")
FILL = ("lifecycle", "0005_intervals_of_the_vms_before")
NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)

#: Three VMs' logs: one that runs, one that is gone, one whose clock was set back.
RUNNING = [("", "PROVISIONING", 0), ("PROVISIONING", "STAGING", 1), ("STAGING", "RUNNING", 4)]
GONE = [("", "PROVISIONING", 0), ("PROVISIONING", "STOPPING", 5), ("STOPPING", "", 6)]
SET_BACK = [("", "RUNNING", 10), ("RUNNING", "STOPPING", 3), ("STOPPING", "TERMINATED", 20)]


@pytest.fixture
def latest() -> Iterator[None]:
    """Whatever happens, the tests after this one find the database of today."""
    yield
    call_command("migrate", "lifecycle", verbosity=0)


def migrate(target: tuple[str, str]) -> Any:
    """To `target`; the models as they were there."""
    executor = MigrationExecutor(connection)
    executor.migrate([target])
    return MigrationExecutor(connection).loader.project_state([target]).apps


def live(old: Any, vm: VM, rows: list[tuple[str, str, int]]) -> None:
    """The VM's log, written by the version before."""
    log = old.get_model("lifecycle", "Transition").objects
    for source, target, minute in rows:
        at = NOON + timedelta(minutes=minute)
        log.create(
            vm_id=vm.pk, number=1, from_state=source, to_state=target, action="create", asked_by="user", occurred_at=at
        )
    gone = {"deleted_at": NOON} if not rows[-1][1] else {"state": rows[-1][1]}
    old.get_model("lifecycle", "VM").objects.filter(pk=vm.pk).update(state_since=NOON + timedelta(minutes=20), **gone)


def spans(vm: VM) -> list[tuple[str, int, int | None]]:
    """State, first and last minute after noon."""
    rows = MeteringInterval.objects.filter(vm=vm).order_by("opened_by_id")

    def minute(at: datetime | None) -> int | None:
        return None if at is None else int((at - NOON).total_seconds() / 60)

    return [(row.state, minute(row.started_at) or 0, minute(row.ended_at)) for row in rows]


def test_vms_of_the_version_before_are_metered_from_their_birth(
    project: Project, latest: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms = [factories.make_vm(project, disk_gib=6) for _ in range(3)]
    other = factories.make_vm(factories.make_project())
    factories.make_vm(project)  # has no log
    old = migrate(BEFORE)
    assert "lifecycle_meteringinterval" not in connection.introspection.table_names()
    for vm, rows in zip([*vms, other], [RUNNING, GONE, SET_BACK, RUNNING], strict=True):
        live(old, vm, rows)

    in_small_batches(monkeypatch)
    migrate(FILL)
    call_command("migrate", "lifecycle", verbosity=0)
    assert spans(vms[0]) == [("PROVISIONING", 0, 1), ("STAGING", 1, 4), ("RUNNING", 4, None)]
    assert spans(vms[1]) == [("PROVISIONING", 0, 5), ("STOPPING", 5, 6)]
    assert spans(vms[2]) == [("RUNNING", 10, 10), ("STOPPING", 10, 20), ("TERMINATED", 20, None)]
    assert spans(other) == spans(vms[0])
    shape = MeteringInterval.objects.filter(vm=vms[0]).values_list("machine_type", "vcpus", "memory_mib", "disk_gib")
    assert set(shape) == {(vms[0].machine_type.name, vms[0].vcpus, vms[0].memory_mib, 6)}
    assert MeteringInterval.objects.filter(project=project).count() == 8
    assert metering.check().differences == 0
    assert guards.missing(connection) == []

    move(vms[0].pk, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER)
    assert spans(vms[0])[2][2] is not None
    assert metering.check().differences == 0


def in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module(), "VMS_AT_ONCE", 2)


def module() -> Any:
    """The migration's own module."""
    from importlib import import_module

    return import_module(f"lifecycle.migrations.{FILL[1]}")


def fill() -> None:
    """The migration's work once more, on the models of its time."""
    loader = MigrationExecutor(connection).loader
    with connection.schema_editor(atomic=False) as editor:
        module().fill(loader.project_state([FILL]).apps, editor)


def test_run_again_it_changes_nothing_and_completes_what_is_missing(project: Project) -> None:
    vm = factories.give_history(factories.make_vm(project, state_since=NOON), NOON)
    move(vm.pk, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER)
    before = list(MeteringInterval.objects.order_by("pk").values_list())
    fill()
    assert list(MeteringInterval.objects.order_by("pk").values_list()) == before
    MeteringInterval.objects.filter(vm=vm, state="RUNNING").delete()
    fill()
    assert metering.check().differences == 0
    assert Transition.objects.filter(vm=vm).count() == MeteringInterval.objects.filter(vm=vm).count() == 2
