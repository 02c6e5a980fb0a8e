"""Several workers in threads, with their own connections, over one database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone
from pytest_django import Settings

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import Host, Image, MachineType, Operation, Project, User
from lifecycle.operations import engine
from lifecycle.operations.leases import Keeper
from lifecycle.operations.sweeper import Sweeper
from lifecycle.services import operations
from lifecycle.services.vms import VMRequest, request_create
from tests.operations.faults import Proxy
from tests.operations.scene import Scene
from tests.services.tools import at_once

pytestmark = [pytest.mark.bothdb, pytest.mark.libvirt, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def keeper() -> Keeper:
    """Begins to renew at the pace of this test."""
    return Keeper()


@pytest.fixture
def scene(
    project: Project,
    owner: User,
    test_host: Host,
    small_image: Image,
    machine_type: MachineType,
    proxy: Proxy,
    keeper: Keeper,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """As elsewhere, with a keeper of leases of this test's own."""
    monkeypatch.setattr(engine, "keeper", keeper)
    return Scene(project, owner, test_host, proxy)


def test_of_many_workers_one_does_the_work(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    outcomes = at_once([partial(engine.run, operation.pk)] * 6)
    assert sorted(outcomes) == [False] * 5 + [True]
    assert scene.proxy.calls.count("define") == 1
    scene.assert_at_rest(State.RUNNING)


def test_many_creates_by_many_workers_all_arrive(scene: Scene, project: Project, owner: User) -> None:
    made = [request_create(project, VMRequest(f"vm-{n}"), user=owner) for n in range(6)]
    for _ in range(20):
        at_once([partial(engine.run, operation.pk) for operation in made])
        open_now = Operation.objects.exclude(status="DONE")
        open_now.update(due_at=timezone.now())
        if not open_now.exists():
            break
    assert {operation.error for operation in Operation.objects.all()} == {None}
    scene.host.refresh_from_db()
    assert scene.host.vcpus_reserved == 6


#: Long enough that a busy machine does not let a lease run out whose keeper renews it each third of that.
LEASE = 6


def test_a_lease_is_kept_alive_while_a_long_step_runs(scene: Scene, settings: Settings) -> None:
    settings.OPERATION_LEASE_SECONDS = LEASE
    operation = scene.ask(Action.CREATE)
    pause = threading.Event()
    scene.proxy.at("define", lambda: pause.wait(LEASE + 1))
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.status, operation.error, operation.recovered) == ("DONE", None, 0)


def test_a_worker_whose_lease_was_taken_hears_of_it_while_its_step_runs(
    scene: Scene, keeper: Keeper, settings: Settings
) -> None:
    settings.OPERATION_LEASE_SECONDS = LEASE
    operation = scene.ask(Action.CREATE)
    heard = threading.Event()

    def long_step() -> None:
        Operation.objects.filter(pk=operation.pk).update(lease_token=99)
        context = next(iter(keeper._held))
        if context.lost.wait(60):
            heard.set()

    scene.proxy.at("define", long_step, times=1)
    engine.run(operation.pk)
    assert heard.is_set()
    assert "start" not in scene.proxy.calls


def test_a_dead_workers_operation_is_found_by_anothers_sweep(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    operations.claim(operation.pk, "dead worker")
    Operation.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sweeper = Sweeper()
    with ThreadPoolExecutor(2) as pool:
        assert sweeper.sweep(pool) == 1
    scene.assert_at_rest(State.RUNNING)


def test_a_sweep_leaves_alone_what_is_worked_on(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    operations.claim(operation.pk, "a worker")
    with ThreadPoolExecutor(2) as pool:
        assert Sweeper().sweep(pool) == 0
