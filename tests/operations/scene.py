"""A scene for operations: one VM on one host, brought into any state by real operations, and its host compared."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.drivers.base import Pool
from lifecycle.models import VM, Address, Host, Image, Operation, Project, Reservation, User
from lifecycle.operations import engine
from lifecycle.services import observations
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests.factories import reload_vm
from tests.operations.faults import Proxy

RUNS_MAX = 60

#: The state each operation is asked for in.
BEGINS_IN = {
    Action.CREATE: None,
    Action.START: State.TERMINATED,
    Action.STOP: State.RUNNING,
    Action.RESET: State.RUNNING,
    Action.SUSPEND: State.RUNNING,
    Action.RESUME: State.SUSPENDED,
    Action.EXPIRE: State.SUSPENDED,
    Action.DELETE: State.RUNNING,
    Action.REPAIR: State.RUNNING,
}

#: The state each operation ends in; None: the VM is gone.
ENDS_IN = {
    Action.CREATE: State.RUNNING,
    Action.START: State.RUNNING,
    Action.STOP: State.TERMINATED,
    Action.RESET: State.RUNNING,
    Action.SUSPEND: State.SUSPENDED,
    Action.RESUME: State.RUNNING,
    Action.EXPIRE: State.TERMINATED,
    Action.DELETE: None,
    Action.REPAIR: State.RUNNING,
}

#: What LIFECYCLE.md says of a failure; None: the VM is gone. Operations that are retried are not here.
FAILS_TO = {
    Action.CREATE: None,
    Action.START: State.TERMINATED,
    Action.RESET: State.RUNNING,
    Action.SUSPEND: State.RUNNING,
    Action.RESUME: State.SUSPENDED,
    Action.REPAIR: State.TERMINATED,
}

#: The power that goes with a state at rest.
POWER = {State.RUNNING: Power.ON, State.TERMINATED: Power.OFF, State.SUSPENDED: Power.SAVED}


def error_of(operation: Operation) -> dict[str, Any]:
    """The error of an operation that failed."""
    assert operation.error, f"{operation} has no error"
    return dict(operation.error)


@dataclass
class Scene:
    """One VM of `owner` on `host`; all calls to the host go through `proxy`."""

    project: Project
    owner: User
    host: Host
    proxy: Proxy
    vm_id: Any = None

    # -- rows

    @property
    def vm(self) -> VM:
        """The VM as recorded now."""
        return reload_vm(self.vm_id)

    @property
    def state(self) -> State | None:
        """Its recorded state; None when it is gone."""
        vm = self.vm
        return None if vm.deleted_at else State(vm.state)

    @property
    def started_at(self) -> datetime:
        """When it was last started, or reset."""
        started_at = self.vm.last_started_at
        assert started_at, "the VM was never started"
        return started_at

    def vm_image_id(self) -> int:
        """The image a new VM comes from."""
        return Image.objects.get().pk

    # -- asking

    def ask(self, action: Action, **fields: Any) -> Operation:
        """The operation for `action`, as whoever asks for it asks."""
        if action is Action.CREATE:
            operation = request_create(self.project, VMRequest("web-1", **fields), user=self.owner)
            self.vm_id = operation.vm_id
            return operation
        if action is Action.REPAIR:
            return self._crash()
        asked_by, user = (Asker.TIMER, None) if action is Action.EXPIRE else (Asker.USER, self.owner)
        return request_action(self.vm, action, user=user, asked_by=asked_by, **fields)

    def _crash(self) -> Operation:
        """Its QEMU dies, and the observer says so."""
        self.proxy._real.destroy(self.vm_id)
        now = timezone.now()
        observations.guest_crashed(
            self.vm_id, reason="Its QEMU died.", occurred_at=now, seen_at=now, power=Power.CRASHED
        )
        return Operation.objects.get(vm=self.vm_id, action=Action.REPAIR, status="PENDING")

    def bring_to(self, state: State | None) -> None:
        """Make the VM and bring it to a state at rest, by operations."""
        if state is None:
            return
        self.do(Action.CREATE)
        if state is State.TERMINATED:
            self.do(Action.STOP)
        elif state is State.SUSPENDED:
            self.do(Action.SUSPEND)

    def begin(self, action: Action) -> Operation:
        """Bring the VM to where `action` begins, and ask for it."""
        self.bring_to(BEGINS_IN[action])
        return self.ask(action)

    def do(self, action: Action) -> Operation:
        """Ask for `action` and work until it is done, well."""
        operation = self.finish(self.ask(action))
        assert operation.error is None, operation.error
        return operation

    # -- working

    def finish(self, operation: Operation) -> Operation:
        """Work on the operation until it is done; waits and back-offs are skipped."""
        for _ in range(RUNS_MAX):
            self.make_due(operation)
            engine.run(operation.pk)
            operation.refresh_from_db()
            if operation.is_done:
                return operation
        raise AssertionError(f"{operation} is not done after {RUNS_MAX} runs, at step {operation.step_index}")

    def make_due(self, operation: Operation) -> None:
        """Its time has come, and a minute has passed since the VM was started."""
        self.set_due(operation)
        VM.objects.filter(pk=operation.vm_id).update(last_started_at=F("last_started_at") - timedelta(minutes=1))

    def set_due(self, operation: Operation) -> None:
        """Its time is now."""
        Operation.objects.filter(pk=operation.pk).update(due_at=timezone.now())

    def expire_lease(self, operation: Operation) -> None:
        """The worker that had it has been silent for too long."""
        long_ago = timezone.now() - timedelta(seconds=1)
        Operation.objects.filter(pk=operation.pk, lease_until__isnull=False).update(lease_until=long_ago)

    def age_step(self, operation: Operation, seconds: float) -> None:
        """The present step began so much earlier."""
        earlier = F("step_started_at") - timedelta(seconds=seconds)
        Operation.objects.filter(pk=operation.pk).update(step_started_at=earlier)

    # -- the host

    @property
    def power(self) -> Power:
        """The domain's power, as the host says."""
        view = self.proxy._real.look(self.vm_id)
        return view.power if view else Power.ABSENT

    def inventory(self) -> dict[str, Any]:
        """All that the VM could hold: on its host, in capacity, in addresses. The image and the network are shared."""
        real = self.proxy._real
        host = Host.objects.get(pk=self.host.pk)
        return {
            "domains": sorted((v.name, v.power) for v in real.list_domains() if v.installation == real.installation),
            "volumes": sorted(v.name for pool in (Pool.DISKS, Pool.SERIAL) for v in real.list_volumes(pool)),
            "bindings": dict(self.proxy.bindings),
            "reserved": (host.vcpus_reserved, host.memory_mib_reserved, host.disk_gib_reserved),
            "reservations": list(Reservation.objects.values_list("vm", "vcpus", "memory_mib", "disk_gib")),
            "addresses": list(Address.objects.filter(vm__isnull=False).values_list("ip", "vm")),
        }

    def assert_at_rest(self, state: State | None) -> None:
        """Record and host agree, no operation is open, and the state holds what it should."""
        assert self.state == state
        assert not Operation.objects.filter(vm=self.vm_id).exclude(status="DONE").exists()
        if state is None:
            assert self.power is Power.ABSENT
            assert self.inventory() == EMPTY
            return
        assert self.power is POWER[state]
        vm = self.vm
        running = state is State.RUNNING
        held = Reservation.objects.get(vm=vm)
        assert (held.vcpus, held.memory_mib) == ((vm.vcpus, vm.memory_mib) if running else (0, 0))
        host = Host.objects.get(pk=self.host.pk)
        assert (host.vcpus_reserved, host.memory_mib_reserved) == (held.vcpus, held.memory_mib)
        assert vm.disk_volume in self.inventory()["volumes"]


EMPTY: dict[str, Any] = {
    "domains": [],
    "volumes": [],
    "bindings": {},
    "reserved": (0, 0, 0),
    "reservations": [],
    "addresses": [],
}
