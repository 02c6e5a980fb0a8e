"""Anything in any order: services and engine are driven at random, with faults at the driver, against the table.

Hypothesis makes the walks; each is a project with a few VMs on a host of libvirt's test driver. What is asked for is
accepted or refused exactly as the lifecycle's table says, and when the faults end everything comes to rest.
"""

from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lifecycle.domain.errors import Broken, Busy, DomainError, Refused, Transient
from lifecycle.domain.recovery import UP
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import USER_ACTIONS, Action, may_cancel, may_preempt, may_start
from lifecycle.models import VM, Host, Operation, Reservation
from lifecycle.operations import engine
from lifecycle.repair.reconcile import reconcile
from lifecycle.services import metering, observations, operations
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests.factories import reload_vm
from tests.operations.faults import Death, Proxy, run_and_die
from tests.operations.scene import EMPTY, POWER, RUNS_MAX, Scene

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="about steps and hosts: once is enough"),
]

NAMES = ("web-1", "web-2")
VERBS = (
    "ensure_network", "bind_address", "has_image", "create_overlay", "write_seed", "define", "start", "look",
    "destroy", "undefine", "remove_volume", "unbind_address", "save_memory", "ask_shutdown", "reset",
)  # fmt: skip
FAULTS: dict[str, Any] = {
    "no answer": Transient("injected"),
    "busy": Busy("injected"),
    "refused": Refused("injected"),
    "broken": Broken("injected"),
    "defect": ZeroDivisionError("injected"),
    "death": Death(),
}

names = st.sampled_from(NAMES)


def asked(act: Callable[[], Operation]) -> tuple[Operation | None, DomainError | None]:
    """What was opened, or why it was refused."""
    try:
        return act(), None
    except DomainError as error:
        return None, error


class Walk(RuleBasedStateMachine):
    """One walk; `scene` is given by the test."""

    scene: Scene

    @initialize()
    def begin(self) -> None:
        """An example's rows are taken back at its end."""
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.requests: list[tuple[Action, Any, Any]] = []

    def live(self, name: str) -> VM | None:
        return VM.objects.live().filter(name=name).first()

    # -- people

    @rule(name=names)
    def create(self, name: str) -> None:
        """A name can be taken once."""
        taken = self.live(name) is not None
        request = VMRequest(name, stop_grace_seconds=0)
        _made, refusal = asked(lambda: request_create(self.scene.project, request, user=self.scene.owner))
        assert (refusal.code if refusal else "") == ("ALREADY_EXISTS" if taken else "")

    @rule(name=names, action=st.sampled_from(USER_ACTIONS))
    def ask(self, name: str, action: Action) -> None:
        """What the table allows is accepted, what it does not is refused and changes nothing."""
        vm = self.live(name)
        if vm is None:
            return
        running = operations.current(vm.pk)
        allowed = may_start(action, vm.lifecycle_state) and may_preempt(
            action, Action(running.action) if running else None
        )
        request_id, owner = uuid4(), self.scene.owner
        made, refusal = asked(lambda: request_action(vm, action, user=owner, request_id=request_id))
        assert (made is not None) is allowed, f"{action} of {vm.state} under {running}: {refusal}"
        if made is None:
            assert operations.current(vm.pk) == running
            assert reload_vm(vm.pk).state == vm.state
        else:
            self.requests.append((action, request_id, made.pk))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """The same request again is the same operation, whatever has happened since."""
        action, request_id, made = data.draw(st.sampled_from(self.requests))
        vm = Operation.objects.get(pk=made).vm
        again = request_action(vm, action, user=self.scene.owner, request_id=request_id)
        assert again.pk == made

    @rule(name=names)
    def cancel(self, name: str) -> None:
        """What can be taken back can be cancelled until it has failed by itself."""
        vm = self.live(name)
        running = operations.current(vm.pk) if vm else None
        if running is None:
            return
        able = may_cancel(Action(running.action)) and not running.undoing
        made, refusal = asked(lambda: operations.cancel(running, self.scene.owner))
        assert (made is not None) is able, refusal

    # -- workers, with faults

    @rule(name=names)
    def work(self, name: str) -> None:
        """A worker works on it until it waits or ends."""
        self._run(name)

    @rule(
        name=names,
        verb=st.sampled_from(VERBS),
        fault=st.sampled_from(sorted(FAULTS)),
        after=st.booleans(),
        times=st.integers(1, 3),
    )
    def work_with_a_fault(self, name: str, verb: str, fault: str, after: bool, times: int) -> None:
        """The host fails at a verb, before its effect or after it, or the worker dies there."""
        error = FAULTS[fault]

        def act() -> None:
            raise error

        self.scene.proxy.at(verb, act, after=after, times=times)
        self._run(name)
        self.scene.proxy.faults.clear()

    @rule(name=names)
    def die_before_the_record(self, name: str) -> None:
        """The worker dies after a step's effect, and its lease runs out."""

        def die(*_args: Any) -> None:
            raise Death

        engine.after_effect = die
        self._run(name)
        engine.after_effect = None

    def _run(self, name: str) -> None:
        vm = self.live(name)
        running = operations.current(vm.pk) if vm else None
        if running is None:
            return
        self.scene.make_due(running)
        run_and_die(running)
        self.scene.expire_lease(running)

    # -- the host

    @rule(name=names)
    def crash(self, name: str) -> None:
        """A guest's QEMU dies; when nobody works on the VM the observer sees it."""
        vm = self.live(name)
        view = self._real.look(vm.pk) if vm else None
        if vm is None or view is None or view.power not in UP:
            return
        self._real.destroy(vm.pk)
        now = timezone.now()
        observations.guest_crashed(vm.pk, reason="Its QEMU died.", occurred_at=now, seen_at=now, power=Power.CRASHED)

    @rule()
    def compare(self) -> None:
        """The reconciler comes by."""
        reconcile(self.scene.host.pk, self._real)

    @property
    def _real(self) -> Any:
        return self.scene.proxy._real

    # -- what holds at every moment

    @invariant()
    def what_is_reserved_is_the_sum(self) -> None:
        """Capacity is what the VMs hold."""
        if not hasattr(self, "atomic"):
            return
        host = Host.objects.get(pk=self.scene.host.pk)
        total = Reservation.objects.aggregate(c=Sum("vcpus", default=0), m=Sum("memory_mib", default=0))
        assert (host.vcpus_reserved, host.memory_mib_reserved) == (total["c"], total["m"])

    @invariant()
    def metering_follows_the_log(self) -> None:
        """No gap, no overlap."""
        if hasattr(self, "atomic"):
            report = metering.check()
            assert not report.differences, report.words

    # -- the end

    def teardown(self) -> None:
        """No more faults: all comes to rest, agrees with the host, and can be deleted without a trace."""
        if not hasattr(self, "atomic"):
            return
        try:
            self.scene.proxy.faults.clear()
            engine.after_effect = None
            self._come_to_rest()
            for vm in VM.objects.live():
                self._agrees(vm)
            for vm in VM.objects.live():
                request_action(vm, Action.DELETE, user=self.scene.owner)
            self._come_to_rest()
            assert self.scene.inventory() == EMPTY
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)
            _sweep(self._real)
            self.scene.proxy.bindings.clear()

    def _come_to_rest(self) -> None:
        for _ in range(RUNS_MAX):
            reconcile(self.scene.host.pk, self._real)
            open_now = list(Operation.objects.exclude(status="DONE"))
            if not open_now:
                break
            for operation in open_now:
                self.scene.make_due(operation)
                engine.run(operation.pk)
        assert not Operation.objects.exclude(status="DONE").exists(), "an operation is stuck"
        reconcile(self.scene.host.pk, self._real)

    def _agrees(self, vm: VM) -> None:
        view = self._real.look(vm.pk)
        power = view.power if view else Power.OFF
        assert vm.lifecycle_state in POWER, f"{vm.name} is stuck in {vm.state}"
        assert power is POWER[vm.lifecycle_state], f"{vm.name} is {vm.state}, its domain is {power}"
        held = Reservation.objects.filter(vm=vm).first()
        wanted = vm.vcpus if vm.lifecycle_state is State.RUNNING else 0
        assert (held.vcpus if held else 0) == wanted


def _sweep(real: Any) -> None:
    """What a walk that failed left on the host."""
    for view in real.list_domains():
        if view.installation == real.installation:
            real.destroy(view.uuid)
            real.undefine(view.uuid)


def test_anything_in_any_order_comes_to_rest(scene: Scene, proxy: Proxy) -> None:
    bound = cast("type[Walk]", type("BoundWalk", (Walk,), {"scene": scene}))
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
