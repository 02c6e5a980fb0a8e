"""Carrying out a decision: thin, one service call each."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils.translation import gettext_noop as _

from lifecycle.domain.recovery import Decision, Observed
from lifecycle.domain.states import Power
from lifecycle.domain.transitions import Asker
from lifecycle.drivers.base import EventKind, HostEvent, Hypervisor
from lifecycle.drivers.evidence import traces
from lifecycle.models import VM, Repair
from lifecycle.services import observations, operations, repair_records

Cause = Repair.Cause

#: libvirt's word for a domain that is off -> what people read.
CRASH_REASONS: Final = {
    "crashed": _("The guest crashed, or its QEMU process died."),
    "failed": _("Its QEMU process died."),
    "daemon": _("Its host found it dead after a restart of libvirt."),
}
PANICKED = _("The guest's kernel panicked.")
WATCHDOG = _("The guest's watchdog fired: the guest hung.")
HELD = _("A disk error holds the guest: its host's storage may be full or broken.")
FOUND_OFF = _("It was found off, and nobody asked for it: its host may have restarted.")


@dataclass(frozen=True, slots=True)
class Case:
    """A VM about which something was decided."""

    hypervisor: Hypervisor
    vm_id: UUID
    observed: Observed
    run_id: int | None
    occurred_at: datetime
    event: HostEvent | None = None
    name: str = ""  # of the domain, as its host knows it

    @property
    def seen_at(self) -> datetime:
        """A moment before the host was asked."""
        return self.observed.taken_at


def execute(decision: Decision, case: Case) -> bool:
    """Do what was decided. False when it was overtaken by something newer and nothing was changed."""
    return _ACTS[decision](case)


def _nothing(_case: Case) -> bool:
    return False


def _wake(case: Case) -> bool:
    return operations.wake(case.vm_id)


def _stopped(case: Case) -> bool:
    return observations.guest_stopped(
        case.vm_id,
        reason=observations.GUEST_SHUT_DOWN,
        occurred_at=case.occurred_at,
        seen_at=case.seen_at,
        by=Asker.GUEST,
    )


def _switched_off(case: Case) -> bool:
    return observations.guest_stopped(
        case.vm_id,
        reason=observations.SWITCHED_OFF,
        occurred_at=case.occurred_at,
        seen_at=case.seen_at,
        by=Asker.OBSERVER,
    )


def _crashed(case: Case) -> bool:
    cause, reason = _cause(case)
    changed = observations.guest_crashed(
        case.vm_id,
        reason=reason,
        occurred_at=case.occurred_at,
        seen_at=case.seen_at,
        power=case.observed.power,
        cause=cause,
        event=_words(case),
        alive=case.run_id is not None,
    )
    return _with_evidence(case, changed)


def _cause(case: Case) -> tuple[Cause, str]:
    """Why it does not execute any more, and what people read of it."""
    if (case.event is not None and case.event.kind is EventKind.WATCHDOG) or case.observed.reason == "watchdog":
        return Cause.WATCHDOG, WATCHDOG
    if _panicked(case):
        return Cause.PANIC, PANICKED
    word = case.event.detail if case.event else case.observed.reason
    return (Cause.CRASH, CRASH_REASONS[word]) if word in CRASH_REASONS else (Cause.FOUND_OFF, FOUND_OFF)


def _panicked(case: Case) -> bool:
    """Only an event tells a panic from a QEMU that died: afterwards libvirt calls both crashed.

    A QEMU that is still there although its guest crashed was told to stay by its definition (on_crash): a panic.
    """
    told = case.event is not None and (case.event.kind is EventKind.CRASHED or case.event.detail == "crashed")
    return told or (case.run_id is not None and case.observed.power is Power.CRASHED)


def _with_evidence(case: Case, changed: bool) -> bool:
    """Keep what the guest left where no repair operation will look at it."""
    if changed and operations.current(case.vm_id) is None:
        read_from = repair_records.recorded_bytes(case.vm_id)
        found = traces(case.hypervisor, case.vm_id, case.name, VM(pk=case.vm_id).serial_volume, read_from)
        repair_records.keep_evidence(case.vm_id, qemu_log=found.qemu_log, said=found.said, read_from=read_from)
    return changed


def _words(case: Case) -> str:
    """What libvirt told, for the record."""
    told = f"{case.event.kind}: {case.event.detail}; " if case.event else ""
    return f"{told}{case.observed.power}: {case.observed.reason}"


def _held(case: Case) -> bool:
    return observations.guest_held(
        case.vm_id,
        reason=HELD,
        occurred_at=case.occurred_at,
        seen_at=case.seen_at,
        event=_words(case),
    )


def _missing(case: Case) -> bool:
    return observations.domain_missing(case.vm_id, occurred_at=case.occurred_at, seen_at=case.seen_at)


def _saved(case: Case) -> bool:
    return observations.observed_save(case.vm_id, occurred_at=case.occurred_at, seen_at=case.seen_at)


def _started(case: Case) -> bool:
    return observations.observed_start(
        case.vm_id,
        power=case.observed.power,
        run_id=case.run_id,
        occurred_at=case.occurred_at,
        seen_at=case.seen_at,
    )


def _switch_off(case: Case) -> bool:
    return case.hypervisor.destroy(case.vm_id)


def _save_again(case: Case) -> bool:
    return case.hypervisor.save_memory(case.vm_id)


def _repaired(case: Case) -> bool:
    return observations.repaired(
        case.vm_id,
        run_id=case.run_id,
        occurred_at=case.occurred_at,
        seen_at=case.seen_at,
        power=case.observed.power,
    )


def _repair_again(case: Case) -> bool:
    changed = observations.repair_again(
        case.vm_id,
        power=case.observed.power,
        occurred_at=case.occurred_at,
        seen_at=case.seen_at,
        alive=case.run_id is not None,
    )
    return _with_evidence(case, changed)


def _stop_ended(case: Case) -> bool:
    return observations.stop_ended(
        case.vm_id, power=case.observed.power, occurred_at=case.occurred_at, seen_at=case.seen_at
    )


_ACTS: Final[dict[Decision, Callable[[Case], bool]]] = {
    Decision.IN_STEP: _nothing,
    Decision.EXPLAINED: _nothing,
    Decision.NO_ANSWER: _nothing,
    Decision.OUTDATED: _nothing,
    Decision.FINDING: _nothing,
    Decision.WAKE: _wake,
    Decision.STOPPED: _stopped,
    Decision.SWITCHED_OFF: _switched_off,
    Decision.CRASHED: _crashed,
    Decision.HELD: _held,
    Decision.HUNG: _crashed,
    Decision.MISSING: _missing,
    Decision.SAVED: _saved,
    Decision.STARTED: _started,
    Decision.SWITCH_OFF: _switch_off,
    Decision.SAVE_AGAIN: _save_again,
    Decision.REPAIRED: _repaired,
    Decision.REPAIR_AGAIN: _repair_again,
    Decision.STOP_ENDED: _stop_ended,
}
