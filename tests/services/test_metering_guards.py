"""What the database itself refuses of intervals and of the log, and that it is there."""

from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import IntegrityError, OperationalError, connection, transaction

from lifecycle.domain.errors import StateConflict
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, MeteringInterval, Project, Transition, User, guards
from lifecycle.services import metering
from lifecycle.services.transitions import move
from tests import factories
from tests.services.tools import at_once, undone

pytestmark = [pytest.mark.bothdb, pytest.mark.usefixtures("host")]

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)


@pytest.fixture
def vm(project: Project) -> VM:
    """With an interval from 12:00 to 12:10, and none that lasts."""
    made = factories.make_vm(project)
    write(made, 0, 10)
    return made


def write(vm: VM, start: float, end: float | None) -> MeteringInterval:
    """An interval in minutes after noon, beside the services."""
    begun = Transition.objects.create(
        vm=vm, number=1, to_state="RUNNING", action="adopt", asked_by="operator", occurred_at=NOON
    )
    return MeteringInterval.objects.create(
        vm=vm,
        project=vm.project,
        opened_by=begun,
        state="RUNNING",
        started_at=NOON + timedelta(minutes=start),
        ended_at=None if end is None else NOON + timedelta(minutes=end),
        machine_type="tiny-1",
        vcpus=1,
        memory_mib=128,
        disk_gib=1,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("start", "end"), [(0, 10), (2, 8), (-5, 1), (9, 15), (-5, 15), (9, None), (-5, None), (9.99999, 10.00001)]
)
def test_intervals_of_a_vm_do_not_overlap(vm: VM, start: float, end: float | None) -> None:
    with pytest.raises(IntegrityError, match=guards.NO_OVERLAP), transaction.atomic():
        write(vm, start, end)


@pytest.mark.django_db
@pytest.mark.parametrize(("start", "end"), [(10, 20), (10, None), (-5, 0), (5, 5), (0, 0), (20, 30)])
def test_intervals_that_touch_or_have_no_length_do_not_overlap(vm: VM, start: float, end: float | None) -> None:
    write(vm, start, end)


@pytest.mark.django_db
def test_an_interval_without_length_is_in_nobodys_way(project: Project) -> None:
    made = factories.make_vm(project)
    write(made, 5, 5)
    write(made, 0, 10)


@pytest.mark.django_db
def test_nothing_follows_an_interval_that_lasts(vm: VM) -> None:
    write(vm, 10, None)
    with pytest.raises(IntegrityError, match=guards.NO_OVERLAP), transaction.atomic():
        write(vm, 500, 600)


@pytest.mark.django_db
def test_vms_overlap_as_they_like(vm: VM) -> None:
    write(factories.make_vm(vm.project), 0, 10)


@pytest.mark.django_db
def test_an_update_cannot_make_an_overlap_either(vm: VM) -> None:
    """Even where the rule that an interval is only closed is taken away."""
    later = write(vm, 10, None)
    on = f" ON {MeteringInterval._meta.db_table}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {guards.CLOSED_ONLY}{on}")
    mine = MeteringInterval.objects.filter(pk=later.pk)
    with pytest.raises(IntegrityError, match=guards.NO_OVERLAP), transaction.atomic():
        mine.update(started_at=NOON)
    assert mine.update(started_at=NOON + timedelta(minutes=11), ended_at=NOON + timedelta(minutes=12))


#: Column -> another value; `opened_by`, `vm` and `project` need a row and stand in the test.
_OTHER: dict[str, Any] = {
    "state": "STOPPING",
    "started_at": NOON + timedelta(minutes=12),
    "machine_type": "big-4",
    "vcpus": 4,
    "memory_mib": 4096,
    "disk_gib": 99,
}


@pytest.mark.django_db
@pytest.mark.parametrize("column", [*_OTHER, "vm", "project", "opened_by"])
def test_an_interval_that_lasts_can_be_closed_and_nothing_else(vm: VM, column: str) -> None:
    lasting = MeteringInterval.objects.filter(pk=write(vm, 10, None).pk)
    other = factories.make_vm(factories.make_project())
    rows = {"vm": other, "project": other.project, "opened_by": write(other, 0, 1).opened_by}
    with pytest.raises(IntegrityError, match=guards.CLOSED_ONLY), transaction.atomic():
        lasting.update(**{column: {**_OTHER, **rows}[column]})
    assert lasting.update(ended_at=NOON + timedelta(minutes=20)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("ended_at", [None, NOON + timedelta(minutes=5)])
def test_a_closed_interval_never_changes(vm: VM, ended_at: datetime | None) -> None:
    with pytest.raises(IntegrityError, match=guards.CLOSED_ONLY), transaction.atomic():
        MeteringInterval.objects.filter(vm=vm).update(ended_at=ended_at)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[("number", 9), ("from_state", "STAGING"), ("to_state", "TERMINATED"), ("action", "create")],
        *[("reason", "another"), ("asked_by", "user"), ("occurred_at", NOON - timedelta(days=1))],
        ("recorded_at", NOON),
    ],
)
def test_a_transition_is_never_changed(vm: VM, column: str, value: object) -> None:
    with pytest.raises(IntegrityError, match=guards.APPEND_ONLY), transaction.atomic():
        Transition.objects.filter(vm=vm).update(**{column: value})


@pytest.mark.django_db
def test_the_account_of_who_asked_can_still_be_removed(project: Project) -> None:
    person = User.objects.create_user("leaver")
    vm = factories.make_vm(project)
    move(vm.pk, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER, user=person)
    person.delete()
    assert Transition.objects.get(vm=vm).user is None


# -- that the guards are there -------------------------------------------------------------------


def check_database() -> None:
    """What `./portal up` runs after the migrations."""
    streams = {"stdout": StringIO(), "stderr": StringIO()}
    call_command("check", tags=["database"], databases=["default"], fail_level="WARNING", **streams)


@pytest.mark.django_db
def test_all_guards_are_in_the_database() -> None:
    check_database()
    assert guards.missing(connection) == []


def names() -> list[str]:
    """Of this database's guards."""
    found = ["sqlite", "postgresql"].index(connection.vendor)
    overlaps = (guards.NO_OVERLAP, guards.IMAGES_NO_OVERLAP)
    first = [[f"{o}_{moment}" for o in overlaps for moment in ("insert", "update")], list(overlaps)][found]
    parts = [[f"{p}_{m}" for m in ("insert", "update")] if found == 0 else [p] for p in PARTS]
    rest = [
        guards.CLOSED_ONLY,
        guards.APPEND_ONLY,
        guards.IMAGES_CLOSED_ONLY,
        guards.IMAGES_APPEND_ONLY,
        guards.AUDIT_ONLY_GROWS,
        guards.PRICES_FIXED,
        guards.ISSUED_FIXED,
        guards.PAYMENTS_FIXED,
    ]
    return [*first, *rest, *(name for names in parts for name in names)]


PARTS = (f"{guards.PRICES_FIXED}_price", f"{guards.ISSUED_FIXED}_line")
TABLES = {
    guards.IMAGES_NO_OVERLAP: "lifecycle_imageinterval",
    guards.IMAGES_CLOSED_ONLY: "lifecycle_imageinterval",
    guards.IMAGES_APPEND_ONLY: "lifecycle_imagechange",
    guards.APPEND_ONLY: "lifecycle_transition",
    guards.AUDIT_ONLY_GROWS: "lifecycle_auditentry",
    guards.PRICES_FIXED: "lifecycle_pricelist",
    guards.ISSUED_FIXED: "lifecycle_invoice",
    guards.PAYMENTS_FIXED: "lifecycle_payment",
    PARTS[0]: "lifecycle_price",
    PARTS[1]: "lifecycle_invoiceline",
}


def drop(name: str) -> None:
    table = TABLES.get(name, MeteringInterval._meta.db_table)
    statement = f"DROP TRIGGER {name}"
    if connection.vendor == "postgresql":
        statement = f"DROP TRIGGER {name} ON {table}"
        if name in {guards.NO_OVERLAP, guards.IMAGES_NO_OVERLAP}:
            statement = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.django_db
def test_the_check_names_each_guard_that_is_missing() -> None:
    assert guards.names(connection) == set(names())
    for name in names():
        with undone():
            drop(name)
            with pytest.raises(SystemCheckError, match=rf"lifecycle\.W001.*lacks {name}:"):
                check_database()


@pytest.mark.django_db
def test_a_migrate_puts_triggers_back() -> None:
    for name in names():
        if connection.vendor == "postgresql" and name in {guards.NO_OVERLAP, guards.IMAGES_NO_OVERLAP}:
            continue  # a migration makes it, and no migrate takes it away
        drop(name)
    call_command("migrate", "lifecycle", verbosity=0)
    check_database()


@pytest.mark.django_db(transaction=True)
def test_a_table_rebuilt_by_sqlite_has_its_triggers_after_the_migrate() -> None:
    """Django remakes a table to change it, and drops its triggers without a word."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL changes tables in place")
    for model in (MeteringInterval, Transition):
        with connection.schema_editor() as editor:
            editor._remake_table(model)  # type: ignore[attr-defined]  # what every AlterField does
    with pytest.raises(SystemCheckError):
        check_database()
    call_command("migrate", "lifecycle", verbosity=0)
    check_database()


@pytest.mark.django_db
def test_a_trigger_of_another_wording_is_replaced() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL tells no text of a trigger")
    drop(guards.APPEND_ONLY)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER {guards.APPEND_ONLY} BEFORE UPDATE ON lifecycle_transition WHEN 0 BEGIN SELECT 1; END"
        )
    assert [guard.name for guard in guards.install(connection)] == [guards.APPEND_ONLY]
    assert guards.install(connection) == []


@pytest.mark.django_db
def test_a_database_that_has_no_tables_yet_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check runs before the very first migrate, too."""
    for name in names():
        drop(name)
    monkeypatch.setattr(connection.introspection, "table_names", lambda *_args: [])
    assert guards.missing(connection) == []


# -- races ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_moves_at_once_are_one_and_leave_one_interval_that_lasts(project: Project) -> None:
    for _round in range(5):
        vm = factories.give_history(factories.make_vm(project))
        go = partial(move, vm.pk, source=State.RUNNING, asked_by=Asker.OBSERVER)
        outcomes = at_once(
            [
                partial(go, action=Action.STOP, target=State.STOPPING),
                partial(go, action=Action.CRASH, target=State.REPAIRING),
                partial(go, action=Action.SUSPEND, target=State.SUSPENDING),
                partial(go, action=Action.OBSERVED_SAVE, target=State.SUSPENDED),
            ]
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [StateConflict.__name__] * 3 + ["VM"]
        assert MeteringInterval.objects.filter(vm=vm).count() == 2
        assert MeteringInterval.objects.get(vm=vm, ended_at=None).state == VM.objects.get(pk=vm.pk).state
    assert metering.check().differences == 0


@pytest.mark.django_db(transaction=True)
def test_two_intervals_written_at_once_beside_the_services_are_one(project: Project) -> None:
    vm = factories.make_vm(project)
    outcomes = at_once([partial(write, vm, 0, 10), partial(write, vm, 5, 15), partial(write, vm, 9, None)])
    assert sum(map(_is_refused, outcomes)) == 2, outcomes
    assert MeteringInterval.objects.filter(vm=vm).count() == 1


def _is_refused(outcome: object) -> bool:
    """By the constraint; or by PostgreSQL, because those who check it at the same moment wait for each other."""
    deadlock = isinstance(outcome, OperationalError) and "deadlock detected" in str(outcome)
    return deadlock or isinstance(outcome, IntegrityError)


@pytest.mark.django_db(transaction=True)
def test_a_check_beside_vms_that_move_finds_no_difference(project: Project) -> None:
    vms = [factories.give_history(factories.make_vm(project)) for _ in range(4)]

    def busy(vm: VM) -> None:
        for _round in range(4):
            move(vm.pk, Action.SUSPEND, State.RUNNING, State.SUSPENDING, asked_by=Asker.USER)
            move(vm.pk, Action.SUSPEND, State.SUSPENDING, State.RUNNING, asked_by=Asker.USER)

    def looking() -> int:
        return sum(metering.check().differences for _round in range(8))

    outcomes = at_once([*(partial(busy, vm) for vm in vms), looking])
    assert outcomes == [None] * 4 + [0]
    with pytest.raises(CommandError):
        call_command("rebuild_metering", "--check", "--repair")
