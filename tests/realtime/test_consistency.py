"""An old snapshot and every message since equal a fresh snapshot, whatever happened and however it arrived."""

import contextlib
import itertools
import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from lifecycle.domain.errors import DomainError
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import TABLE, Action, Asker
from lifecycle.models import VM, Host, Operation, Project, User
from lifecycle.realtime import messages, publish
from lifecycle.services import observations, operations, vms
from lifecycle.services.transitions import move
from tests.realtime.servers import Watcher, Web, until, watching
from tests.realtime.tools import change

STEPS = ("first", "second")
ROUNDS = 60


class Life:
    """Random things that happen to the VMs of a project, by the services that workers, people and watchers call."""

    def __init__(self, project: Project, user: User, host: Host, seed: int) -> None:
        self.project, self.user, self.host = project, user, host
        self.random = random.Random(seed)
        self.names = (f"vm-{n}" for n in itertools.count())
        self.deeds: list[Callable[[], Any]] = [
            self.create, self.ask, self.ask, self.begin, self.progress, self.finish, self.finish, self.fail,
            self.observe, self.protect, self.shut_down, self.wait, self.lose_the_worker,
        ]  # fmt: skip

    def live(self) -> None:
        """One thing; what the rules refuse does not happen."""
        with contextlib.suppress(DomainError):
            self.random.choice(self.deeds)()

    def create(self) -> None:
        vms.request_create(self.project, vms.VMRequest(name=next(self.names)), user=self.user)

    def ask(self) -> None:
        action = self.random.choice([Action.START, Action.STOP, Action.DELETE, Action.RESET, Action.SUSPEND])
        if vm := self.any_vm():
            vms.request_action(vm, action, user=self.user)

    def observe(self) -> None:
        if vm := self.any_vm():
            power = self.random.choice(list(Power))
            observations.record_power(vm.id, power, run_id=1, seen_at=timezone.now())

    def protect(self) -> None:
        if vm := self.any_vm():
            vms.set_deletion_protection(vm, self.random.random() < 0.3, user=self.user)

    def shut_down(self) -> None:
        if vm := self.any_vm():
            now = timezone.now() + timedelta(seconds=1)
            observations.guest_stopped(
                vm.id, reason="The guest shut itself down.", by=Asker.GUEST, occurred_at=now, seen_at=now
            )

    def begin(self) -> None:
        operation = self.any_operation()
        if operation and operation.status == Operation.Status.PENDING:
            operations.claim(operation.id, "a worker")
            with transaction.atomic():
                operations.plan_steps(operation.id, STEPS)
                operations.begin_step(operation, 0, undoing=False)
                publish.vm_changed(operation.vm_id)

    def progress(self) -> None:
        if operation := self.any_operation():
            with transaction.atomic():
                operations.end_step(operation, 0, "done", self.random.choice(["", "Waiting for the guest."]))
                operations.set_progress(operation, self.random.randint(1, 99))
                publish.vm_changed(operation.vm_id)

    def wait(self) -> None:
        """A step says "again"; a worker looks again."""
        operation = self.any_operation()
        if operation and operation.status == Operation.Status.RUNNING:
            with transaction.atomic():
                operations.postpone(operation, 0, failed=False, detail=self.random.choice(["", "Not yet."]))
            operations.claim(operation.id, "another worker")

    def lose_the_worker(self) -> None:
        """Its lease runs out; another worker recovers the operation."""
        if operation := self.any_operation():
            past = timezone.now() - timedelta(seconds=1)
            Operation.objects.filter(pk=operation.pk, lease_until__isnull=False).update(lease_until=past, due_at=past)
            operations.claim(operation.id, "another worker")
            if operation.status == Operation.Status.PENDING:
                change(VM.objects.get(pk=operation.vm_id))  # as the engine does before its first step

    def finish(self) -> None:
        """Take the VM to the end of its operation's way, the operation's end in the same transaction."""
        if operation := self.any_operation():
            vm = VM.objects.get(pk=operation.vm_id)
            action = Action(operation.action)
            with transaction.atomic():
                for state in TABLE[action].through:
                    if state != State(vm.state):
                        vm = move(vm.id, action, State(vm.state), state, asked_by=Asker.USER, host=self.host)
                operations.close(operation.id)
                target = self.target(action)
                if target == State(vm.state):
                    publish.vm_changed(vm.id)
                else:
                    move(vm.id, action, State(vm.state), target, asked_by=Asker.USER)

    def fail(self) -> None:
        operation = self.any_operation()
        if operation and operation.action == Action.CREATE:
            with transaction.atomic():
                operations.close(operation.id, error={"code": "stockout", "message": "No host has room."})
                state = State(VM.objects.get(pk=operation.vm_id).state)
                move(operation.vm_id, Action.CREATE, state, None, asked_by=Asker.USER)

    def target(self, action: Action) -> State | None:
        return (
            next(iter(sorted(TABLE[action].targets - {State.SUSPENDED})), State.SUSPENDED)
            if action is not Action.DELETE
            else None
        )

    def any_vm(self) -> VM | None:
        found = list(VM.objects.live().filter(project=self.project))
        return self.random.choice(found) if found else None

    def any_operation(self) -> Operation | None:
        found = list(Operation.objects.filter(project=self.project).exclude(status=Operation.Status.DONE))
        return self.random.choice(found) if found else None


def as_json(snapshot: dict[str, Any]) -> dict[str, Any]:
    """As a browser gets it, the VMs by name."""
    plain: dict[str, Any] = json.loads(json.dumps(snapshot))
    return {**plain, "vms": sorted(plain["vms"], key=lambda vm: vm["name"])}


def replayed(before: dict[str, Any], watcher: Watcher) -> dict[str, Any]:
    """The old snapshot after all events of a watcher, in their order."""
    current = as_json(before)
    for event in sorted(watcher.of("event"), key=lambda event: event["number"]):
        current = messages.apply(current, event)
    return current


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_old_snapshot_and_all_messages_equal_a_fresh_snapshot(
    web: Web, project: Project, owner: User, cookie: str, host: Host, catalog: None, seed: int
) -> None:
    life = Life(project, owner, host, seed)
    for _ in range(10):
        life.live()
    old = messages.snapshot(project)
    with watching(web, project, cookie) as early:
        early.wait_for("hello")
        for _ in range(ROUNDS // 2):
            life.live()
        with watching(web, project, cookie) as late:
            hello = late.wait_for("hello")[0]
            late.send({"type": "since", "number": old["number"]})
            for _ in range(ROUNDS // 2):
                life.live()
            fresh = as_json(messages.snapshot(project))
            assert fresh["number"] >= hello["number"] > old["number"] + 5
            for watcher in (early, late):
                missing = set(range(old["number"] + 1, fresh["number"] + 1))
                until(lambda w=watcher, m=missing: m <= set(w.numbers()), "all events")  # type: ignore[misc]
                assert replayed(old, watcher) == fresh


def test_messages_that_a_snapshot_contains_already_change_nothing(
    web: Web, project: Project, owner: User, cookie: str, host: Host, catalog: None
) -> None:
    """The number is read before the rows: what was committed between is in both."""
    life = Life(project, owner, host, 4)
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        for _ in range(30):
            life.live()
        fresh = as_json(messages.snapshot(project))
        until(lambda: len(watcher.numbers()) == fresh["number"], "all events")
        earlier = {**fresh, "number": fresh["number"] // 2}
        # Rows newer than the number, then the messages again: in between older, in the end the same.
        assert replayed(earlier, watcher) == fresh


def test_a_walk_visits_what_matters(project: Project, owner: User, host: Host, catalog: None) -> None:
    """The walk is worth something: every kind of event and most states occur in it."""
    kinds, states = set(), set()
    for seed in (1, 2, 3):
        life = Life(project, owner, host, seed)
        life.names = (f"walk-{seed}-{n}" for n in itertools.count())
        for _ in range(ROUNDS + 10):
            life.live()
    for event in project.events.all():
        kinds.add(event.kind)
        states.add(event.payload.get("state"))
    assert kinds == {messages.VM_CHANGED, messages.VM_GONE}
    assert states >= {"PROVISIONING", "RUNNING", "STOPPING", "TERMINATED"}
