"""The reconciler of a host: one bulk call, one comparison with the record, and what follows.

It takes no input but the host, runs on a timer and on signals, and returns counts. What has one right answer is
healed; the rest is kept as findings, and what people chose about those is carried out.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import DatabaseError
from django.utils import timezone

from lifecycle.domain.errors import DomainError, HypervisorError
from lifecycle.domain.findings import Sighting
from lifecycle.domain.recovery import HEALING, Decision, Verdict, decide
from lifecycle.domain.states import Power
from lifecycle.drivers.base import DomainView, Hypervisor
from lifecycle.repair import cleanups, findings, records, remains
from lifecycle.repair.observe import look_again, observation
from lifecycle.repair.records import Row
from lifecycle.services import observations

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Result:
    """What a reconcile of one host saw and did. `findings`: where a person must choose, but for what is ignored."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Sighting] = field(default_factory=list)
    contradictions: dict[UUID, str] = field(default_factory=dict)

    @property
    def healed(self) -> int:
        """How many VMs were put right."""
        return sum(self.counts[decision] for decision in HEALING)

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items())) or "nothing"


def reconcile(host_id: int, hypervisor: Hypervisor) -> Result:
    """Compare a host with the record and put right what has one right answer.

    Raises:
        HypervisorError: the host did not answer; nothing was concluded from that.
    """
    cleanups.carry_out(host_id, hypervisor)
    taken_at = timezone.now()
    views = {view.uuid: view for view in hypervisor.list_domains()}
    rows = records.of_host(host_id)  # read after the host: what settled meanwhile is newer, and is left alone
    result = Result()
    verdicts = {pk: decide(row.recorded, observation(views.get(pk), taken_at)) for pk, row in rows.items()}
    _note_power(rows, verdicts, views, taken_at)
    for vm_id, verdict in verdicts.items():
        _carry_out(host_id, hypervisor, vm_id, verdict, result)
    volumes = findings.volumes_of(hypervisor)
    if left := remains.note(host_id, hypervisor, views.values(), volumes, taken_at):
        result.counts["remains"] = left
    result.findings = findings.take_note(host_id, hypervisor, views.values(), volumes, result.contradictions, taken_at)
    result.counts.update(finding.kind for finding in result.findings)
    findings.carry_out(host_id, hypervisor)
    return result


def _carry_out(host_id: int, hypervisor: Hypervisor, vm_id: UUID, verdict: Verdict, result: Result) -> None:
    """Heal one VM, after another look at it: the bulk call may be seconds old. One failure stops no other."""
    decision: Decision | None = verdict.decision
    try:
        if decision in HEALING:
            decision = look_again(host_id, hypervisor, vm_id)
    except (DomainError, HypervisorError, DatabaseError) as error:
        log.warning("VM %s could not be put right now (%s): %s", vm_id, verdict.decision, error)
        result.counts["failed"] += 1
        return
    if decision is Decision.FINDING:
        result.contradictions[vm_id] = verdict.text
    elif decision is not None:
        result.counts[decision] += 1


def _note_power(
    rows: dict[UUID, Row], verdicts: dict[UUID, Verdict], views: dict[UUID, DomainView], taken_at: datetime
) -> None:
    """Record what was seen: changes one by one, the (usual) rest by one UPDATE. Healing records its own."""
    same = []
    for vm_id, row in rows.items():
        if verdicts[vm_id].decision in HEALING | {Decision.OUTDATED}:
            continue
        view = views.get(vm_id)
        power, run_id = (view.power, view.run_id) if view else (Power.ABSENT, None)
        if (power, run_id) == (row.power, row.run_id):
            same.append(vm_id)
        else:
            observations.record_power(vm_id, power, run_id=run_id, seen_at=taken_at)
    if same:
        observations.confirm_power(same, taken_at)
