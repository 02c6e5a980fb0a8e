"""Repair: a guest that died is powered on again from the same definition; or switched off, when it is given up.

Silence is no failure: while the host does not answer the operation waits, uses no attempt and never gives up.
What counts is a host that answers and cannot start the guest: after the last attempt the VM is TERMINATED.
"""

from collections.abc import Callable

from django.utils import timezone

from lifecycle.domain.errors import Broken, HypervisorError
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.drivers.base import DomainView
from lifecycle.drivers.evidence import traces
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Again, Definition, Outcome, Skip, Step
from lifecycle.services import capacity, repair_records

ATTEMPTS_MAX = 3
ATTEMPT_PAUSE_SECONDS = (2.0, 10.0)  # before the second, before the third
#: Before a restart, by how often it was restarted lately.
RESTART_PAUSE_SECONDS = (0.0, 5.0, 20.0)
#: The waits of a repair end with the host's answer or by a person, not with the clock.
NO_DEADLINE = 10.0**9
#: How long a guest that was let go on is watched: a disk that still fails holds it at its next write.
HELD_AGAIN_SECONDS = 2.0


def _await_turn(context: Context) -> Outcome:
    """A guest that crashed just after its last restart is given a little more time each time."""
    earlier = min(int(context.recall("earlier", 0)), len(RESTART_PAUSE_SECONDS) - 1)
    asked_at = context.operation.insert_time
    left = RESTART_PAUSE_SECONDS[earlier] - (timezone.now() - asked_at).total_seconds()
    if left <= 0 or context.recall("end") or repair_records.hurried(context.vm.id, since=asked_at):
        return None
    return Again(left, "waiting before the next restart")


def _look_at_domain(context: Context) -> Outcome:
    """See what is left of it. One that runs is left alone, unless it is to be started again, or switched off."""
    host, vm = context.host(), context.vm
    view = host.look(vm.id)
    if not (context.recall("restart") or context.recall("end")):
        if view is not None and view.power is Power.PAUSED:
            return _let_go_on(context, view)
        if view is not None and view.power is Power.ON:
            context.seen = view
            return Skip("the guest runs")
    _keep_evidence(context, view)
    context.host().destroy(vm.id)
    if context.recall("end"):
        return Skip("it is switched off")
    if context.recall("restart"):
        context.remember(restart=False)
    return None


def _let_go_on(context: Context, view: DomainView) -> Outcome:
    """A guest that is held goes on; held again soon after, the attempt has failed."""
    vm = context.vm
    if context.recall("let_go"):
        context.remember(let_go=False)
        raise Broken(f"domain {vm.id} is held again after it was let go on")
    _keep_evidence(context, view)
    context.host().resume_cpus(vm.id)
    context.remember(let_go=True)
    return Again(HELD_AGAIN_SECONDS, "the guest was let go on")


def _keep_evidence(context: Context, view: DomainView | None) -> None:
    """What the guest left, once: the next start goes on writing to its logs."""
    if context.recall("evidence"):
        return
    vm = context.vm
    name = view.name if view else vm.domain_name
    found = traces(context.host(), vm.id, name, vm.serial_volume, repair_records.recorded_bytes(vm.id))
    with context.writing():
        repair_records.keep_evidence(vm.id, qemu_log=found.qemu_log, said=found.said, read_from=found.read_from)
    context.remember(evidence=True)


def _restore_definition(context: Context) -> Outcome:
    """The definition stays what it was; one that is gone is made again from the record."""
    if context.host().look(context.vm.id) is None:
        context.host().define(context.domain_spec())
    return None


def _start_domain(context: Context) -> Outcome:
    with context.writing():
        repair_records.count_attempt(context.vm.id, int(context.recall("attempts", 0)) + 1)
    context.host().start(context.vm.id)
    context.seen = context.host().look(context.vm.id)
    return None


def _attempted(work: Callable[[Context], Outcome]) -> Callable[[Context], Outcome]:
    """`work` with the attempts of a repair: what the host refuses is tried again, a few times."""

    def run(context: Context) -> Outcome:
        try:
            return work(context)
        except HypervisorError as error:
            if error.retry:
                raise
            attempt = int(context.recall("attempts", 0)) + 1
            context.remember(attempts=attempt)
            with context.writing():
                repair_records.count_attempt(context.vm.id, attempt, error.user_text)
            if attempt >= ATTEMPTS_MAX:
                raise
            return Again(ATTEMPT_PAUSE_SECONDS[attempt - 1], error.user_text)

    return run


STEPS = (
    Step("await_turn", _await_turn, no_undo="only waits", deadline_seconds=NO_DEADLINE),
    Step("look_at_domain", _attempted(_look_at_domain), undo=steps.power_off, deadline_seconds=NO_DEADLINE),
    Step(
        "prepare_network",
        _attempted(steps.PREPARE_NETWORK.do),
        no_undo="the network is the project's",
        deadline_seconds=NO_DEADLINE,
    ),
    Step(
        "restore_definition",
        _attempted(_restore_definition),
        no_undo="a VM keeps its definition",
        deadline_seconds=NO_DEADLINE,
    ),
    Step("start_domain", _attempted(_start_domain), undo=steps.power_off, deadline_seconds=NO_DEADLINE),
)


def _complete(context: Context) -> None:
    if context.recall("end"):
        _ended(context, str(context.recall("cause", "")))
        return
    started_again = context.operation.steps.filter(name="start_domain", status="done").exists()
    if started_again:
        steps.arrived(context, State.REPAIRING)
        return
    run_id = context.seen.run_id if context.seen else None
    context.move(
        State.REPAIRING,
        State.RUNNING,
        reason="The guest runs.",
        power=Power.ON,
        power_seen_at=timezone.now(),
        run_id=run_id,
    )


def _fail(context: Context) -> None:
    error = context.recall("error") or {}
    cause = str(context.recall("cause", ""))
    _ended(context, f"{cause} It could not be started again: {error.get('message', '')}".strip())


def _ended(context: Context, reason: str) -> None:
    """It is off, and stays off."""
    capacity.release_compute(context.vm)
    context.move(
        State.REPAIRING,
        State.TERMINATED,
        reason=reason,
        power=Power.OFF,
        power_seen_at=timezone.now(),
        run_id=None,
    )


DEFINITION = Definition(Action.REPAIR, STEPS, complete=_complete, fail=_fail)
