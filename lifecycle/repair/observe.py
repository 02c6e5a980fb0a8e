"""From an event of a host to the record: read, look, decide, write; a few milliseconds.

An event only says where to look. What is decided comes from a look at the domain made after the event, so that
late, doubled or reordered events do no harm; from the event come the exact time and libvirt's word for the cause.
"""

import logging
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from lifecycle.domain.recovery import UP, Decision, Observed, Verdict, decide
from lifecycle.domain.states import Power
from lifecycle.drivers.base import DomainView, EventKind, HostEvent, Hypervisor
from lifecycle.repair import records
from lifecycle.repair.execute import Case, execute
from lifecycle.repair.records import Row
from lifecycle.services import observations

log = logging.getLogger(__name__)

#: Events that end a run of a domain. While an operation is open only these can be of interest to it.
ENDINGS = frozenset({EventKind.STOPPED, EventKind.CRASHED})


def observe(host_id: int, hypervisor: Hypervisor, event: HostEvent) -> Decision | None:
    """Take note of one event. None when it is about nothing of ours.

    Raises:
        HypervisorError: the host did not answer; the caller looks again later.
    """
    if event.uuid is None or (row := records.find(host_id, event.uuid)) is None:
        return None
    if row.recorded.operation is not None and event.kind not in ENDINGS:
        return Decision.EXPLAINED
    return settle(hypervisor, row, event).decision


def settle(hypervisor: Hypervisor, row: Row, event: HostEvent | None = None) -> Verdict:
    """Look at one VM's domain and do what follows from it."""
    taken_at = timezone.now()
    view = hypervisor.look(row.vm_id)
    observed = observation(view, taken_at)
    if event is not None and event.kind is EventKind.STOPPED and observed.power is Power.OFF:
        observed = replace(observed, reason=event.detail)
    verdict = decide(row.recorded, observed)
    run_id = view.run_id if view else None
    name = view.name if view else ""
    case = Case(hypervisor, row.vm_id, observed, run_id, _occurred_at(row, observed, event), event, name)
    changed = execute(verdict.decision, case)
    if verdict.decision in {Decision.IN_STEP, Decision.FINDING, Decision.WAKE}:
        observations.record_power(row.vm_id, observed.power, run_id=run_id, seen_at=taken_at)
    if changed:
        log.info("VM %s: %s (%s)", row.vm_id, verdict.decision, observed.reason or observed.power)
    return verdict


def observation(view: DomainView | None, taken_at: datetime) -> Observed:
    """A view of the driver in the words of the domain; None is a domain that the host does not know."""
    if view is None:
        return Observed(Power.ABSENT, "", ours=True, generation=None, taken_at=taken_at)
    ours = view.installation == settings.INSTALLATION_ID
    return Observed(view.power, view.reason, ours=ours, generation=view.generation, taken_at=taken_at)


def look_again(host_id: int, hypervisor: Hypervisor, vm_id: UUID) -> Decision | None:
    """Settle one VM without an event."""
    row = records.find(host_id, vm_id)
    return settle(hypervisor, row).decision if row else None


def _occurred_at(row: Row, observed: Observed, event: HostEvent | None) -> datetime:
    """When it happened: what libvirt tells, else the last proof of life (a start: now)."""
    if event is not None and (event.kind in ENDINGS) is (observed.power not in UP):
        return event.occurred_at
    return observed.taken_at if observed.power in UP else row.last_life
