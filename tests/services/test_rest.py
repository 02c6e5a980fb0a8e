"""The smaller services: transactions, the bell, addresses, images, preferences, the first rows."""

import time
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import OperationalError, connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError as BrokerError

from lifecycle.domain.errors import InvalidInput, ResourcePoolExhausted
from lifecycle.domain.quotas import Amounts
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import Address, Image, MachineType, Membership, Project, User, Zone
from lifecycle.services import accounts, bell, db, images, networks, operations, quotas
from lifecycle.services.bootstrap import bootstrap
from lifecycle.services.vms import request_action
from tests import factories
from tests.services.tools import no_change

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

# -- transactions --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_service_that_refuses_takes_back_what_it_wrote() -> None:
    @db.service
    def half_way() -> None:
        factories.make_zone("half-way")
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        half_way()
    assert not Zone.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_tried_again_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    tries: list[int] = []

    @db.service
    def unlucky() -> int:
        factories.make_zone(f"zone-{len(tries)}")
        tries.append(1)
        if len(tries) < 4:
            raise OperationalError("database is locked")
        return len(tries)

    assert unlucky() == 4
    assert list(Zone.objects.values_list("name", flat=True)) == ["zone-3"]


@pytest.mark.django_db(transaction=True)
def test_another_error_of_the_database_is_told_at_once() -> None:
    tries: list[int] = []

    @db.service
    def broken() -> None:
        tries.append(1)
        raise OperationalError("no such table")

    with pytest.raises(OperationalError):
        broken()
    assert len(tries) == 1


@pytest.mark.django_db(transaction=True)
def test_a_service_joins_the_transaction_that_is_open() -> None:
    @db.service
    def inner() -> bool:
        return connection.in_atomic_block

    assert inner()
    assert not connection.in_atomic_block


# -- the bell ------------------------------------------------------------------------------------


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What was sent to the broker."""
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(bell, "_silent_until", 0.0)
    monkeypatch.setattr(current_app, "send_task", lambda name, **kw: sent.append({"name": name, **kw}))
    return sent


@pytest.mark.django_db(transaction=True)
def test_the_bell_rings_when_a_request_is_committed(
    project: Project, owner: User, host: object, rung: list[dict[str, object]]
) -> None:
    operation = request_action(factories.make_vm(project), Action.STOP, user=owner)
    (call,) = rung
    assert call["name"] == "lifecycle.run_operation"
    assert call["args"] == [str(operation.pk)]


@pytest.mark.django_db(transaction=True)
def test_a_dead_broker_fails_no_request_and_is_left_alone_for_a_while(
    project: Project, owner: User, host: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def dead(*_args: object, **_kwargs: object) -> None:
        tries.append(1)
        raise BrokerError("connection refused")

    monkeypatch.setattr(bell, "_silent_until", 0.0)
    monkeypatch.setattr(current_app, "send_task", dead)
    for _ in range(3):
        assert request_action(factories.make_vm(project), Action.STOP, user=owner)
    assert len(tries) == 1


# -- leases of operations ------------------------------------------------------------------------


def test_due_operations_come_oldest_first_and_free_ones_only(project: Project, host: object) -> None:
    now = timezone.now()
    made = [
        factories.make_operation(factories.make_vm(project), Action.STOP, **fields)
        for fields in (
            {"due_at": now - timedelta(seconds=1)},
            {"due_at": now - timedelta(seconds=2)},
            {"due_at": now + timedelta(seconds=60)},
            {"lease_until": now + timedelta(seconds=60)},
            {"lease_until": now - timedelta(seconds=1), "due_at": now - timedelta(seconds=3)},
            {"status": "DONE", "end_time": now + timedelta(minutes=1)},
        )
    ]
    assert operations.due(limit=10) == [made[4].pk, made[1].pk, made[0].pk]
    assert operations.due(limit=1) == [made[4].pk]


def test_a_lease_is_prolonged_only_by_its_holder(project: Project, host: object) -> None:
    operation = factories.make_operation(factories.make_vm(project), Action.STOP)
    claimed = operations.claim(operation.pk, "worker")
    assert claimed
    assert operations.renew([(operation.pk, claimed.lease_token)]) == []
    assert operations.renew([(operation.pk, claimed.lease_token + 1)]) == [operation.pk]


def test_an_operation_is_closed_once(project: Project, host: object) -> None:
    operation = factories.make_operation(factories.make_vm(project), Action.STOP)
    assert operations.close(operation.pk)
    assert not operations.close(operation.pk, error={"code": "LATE"})
    operation.refresh_from_db()
    assert (operation.error, operation.progress) == (None, 100)


# -- addresses -----------------------------------------------------------------------------------


def test_addresses_are_given_in_order_and_never_the_gateways(project: Project, host: object) -> None:
    first, second = factories.make_vm(project), factories.make_vm(project)
    gateway = project.network.cidr.split("/")[0].rsplit(".", 1)[0] + ".1"
    assert first.address.ip == gateway[:-1] + "2"
    assert second.address.ip == gateway[:-1] + "3"


def test_a_released_address_rests_before_it_is_given_again(
    project: Project, host: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "PREFIX", 29)
    small = factories.make_project()
    vms = [factories.make_vm(small) for _ in range(5)]  # six addresses, of which one is the gateway's
    with pytest.raises(ResourcePoolExhausted):
        factories.make_vm(small)
    networks.take_address_back(vms[2])
    with pytest.raises(ResourcePoolExhausted):
        factories.make_vm(small)
    Address.objects.filter(vm__isnull=True).update(released_at=timezone.now() - networks.REST - timedelta(seconds=1))
    assert factories.make_vm(small).address.ip == vms[2].address.ip


def test_a_network_is_made_once(project: Project) -> None:
    with no_change():
        assert networks.network_of(project) == project.network


# -- quota ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_usage_is_the_sum_by_state(project: Project, host: object, state: State) -> None:
    factories.make_vm(project, state=state, vcpus=2, memory_mib=256, disk_gib=4)
    factories.make_vm(factories.make_project(), state=state)
    used = quotas.usage_of(project)
    compute = state not in {State.TERMINATED, State.SUSPENDED}
    assert used == Amounts(1, 2 if compute else 0, 256 if compute else 0, 4)


# -- images --------------------------------------------------------------------------------------

FIELDS: dict[str, Any] = {"family": "tiny", "size_bytes": 1, "virtual_size_bytes": 1, "file_name": "tiny.qcow2"}


def test_an_image_is_registered_ready(db: None) -> None:
    made = images.register(name="tiny", sha256="a" * 64, **FIELDS)
    assert made.status == Image.Status.READY


def test_registering_the_same_image_again_changes_nothing(db: None) -> None:
    first = images.register(name="tiny", sha256="a" * 64, **FIELDS)
    assert images.register(name="tiny", sha256="a" * 64, **FIELDS) == first
    assert Image.objects.count() == 1


def test_a_renewed_image_takes_the_name_and_the_former_one_keeps_its_vms(project: Project, host: object) -> None:
    former = images.register(name="tiny", sha256="a" * 64, **FIELDS)
    vm = factories.make_vm(project, image=former)
    newer = images.register(name="tiny", sha256="b" * 64, **FIELDS)
    former.refresh_from_db()
    assert (newer.name, newer.status) == ("tiny", Image.Status.READY)
    assert (former.name, former.status) == ("tiny-aaaaaaaaaaaa", Image.Status.DEPRECATED)
    assert factories.reload_vm(vm.id).image == former


def test_an_image_may_go_back_and_forth(db: None) -> None:
    first = images.register(name="tiny", sha256="a" * 64, **FIELDS)
    second = images.register(name="tiny", sha256="b" * 64, **FIELDS)
    for sha256, expected in (("a" * 64, first), ("b" * 64, second), ("a" * 64, first)):
        again = images.register(name="tiny", sha256=sha256, **FIELDS)
        assert (again.pk, again.name, again.status) == (expected.pk, "tiny", Image.Status.READY)
    assert Image.objects.count() == 2


# -- people --------------------------------------------------------------------------------------


def test_preferences_are_kept(owner: User) -> None:
    accounts.change_preferences(owner, language="fr", time_zone="Europe/Paris")
    owner.refresh_from_db()
    assert (owner.language, owner.time_zone) == ("fr", "Europe/Paris")


@pytest.mark.parametrize(("language", "time_zone"), [("xx", ""), ("", "Mars/Olympus"), ("", "../../etc/passwd")])
def test_unknown_preferences_are_refused(owner: User, language: str, time_zone: str) -> None:
    with no_change(), pytest.raises(InvalidInput):
        accounts.change_preferences(owner, language=language, time_zone=time_zone)


def test_a_changed_password_is_no_one_time_password_any_more(db: None) -> None:
    user = factories.make_user(must_change_password=True)
    accounts.password_changed(user)
    user.refresh_from_db()
    assert not user.must_change_password


# -- the first rows ------------------------------------------------------------------------------


def test_the_first_rows_are_an_administrator_a_project_a_zone_and_machine_types(db: None) -> None:
    made = bootstrap()
    admin = User.objects.get(username=made.username)
    assert made.password
    assert admin.check_password(made.password)
    assert admin.must_change_password
    assert Membership.objects.get(user=admin, project__slug=made.project).role == "owner"
    assert Zone.objects.filter(name=made.zone).exists()
    assert MachineType.objects.filter(is_default=True).count() == 1
    assert PeriodicTask.objects.filter(task__startswith="lifecycle.").exists()


def test_the_first_rows_are_made_once(db: None) -> None:
    bootstrap()
    with no_change():
        assert bootstrap().password is None
