"""Findings of one host: what is sighted, and carrying out what people chose. Thin: the plan is the domain's."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from lifecycle.domain import findings as plan
from lifecycle.domain.definitions import SIZES, as_json, differences, from_json
from lifecycle.domain.errors import Busy, DomainError, Gone, HypervisorError, Refused, ResourcePoolExhausted
from lifecycle.domain.findings import Choice, Contradiction, Domain, Kind, Picture, RecordedVM, Sighting, Volume
from lifecycle.domain.states import Power, State
from lifecycle.domain.text import mark
from lifecycle.drivers.base import DomainSpec, DomainView, Hypervisor, NetworkSpec, Pool
from lifecycle.models import VM, Cleanup, Disk, Finding, Operation
from lifecycle.services import adoption, definitions, findings
from lifecycle.services.adoption import Adoptee

log = logging.getLogger(__name__)

#: Definitions read, and strange domains looked into, in one reconcile: more take their turn in the next.
DEFINITIONS_MAX: Final = 20
STRANGERS: Final = (Kind.FOREIGN_DOMAIN, Kind.ORPHANED_DOMAIN)

# -- seeing ----------------------------------------------------------------------------------------


def volumes_of(hypervisor: Hypervisor, *, afresh: bool = False) -> tuple[Volume, ...]:
    """The volumes that belong to VMs, or should."""
    views = [view for pool in (Pool.DISKS, Pool.SERIAL) for view in hypervisor.list_volumes(pool, afresh=afresh)]
    return tuple(Volume(v.pool.value, v.name, v.capacity_bytes, v.allocation_bytes) for v in views)


def take_note(
    host_id: int,
    hypervisor: Hypervisor,
    views: Iterable[DomainView],
    volumes: tuple[Volume, ...],
    contradictions: Mapping[UUID, str],
    taken_at: datetime,
) -> list[Sighting]:
    """Record what a person must choose about; returns what is not ignored.

    Raises:
        HypervisorError: the host did not answer; nothing was concluded.
    """
    domains = {view.uuid: _domain(view) for view in views}
    picture = _picture(host_id, domains, volumes, contradictions, taken_at)
    if any(sighting.kind in {Kind.MISSING_DISK, Kind.MISSING_DOMAIN} for sighting in plan.sightings(picture)):
        # libvirt goes by what it remembers of a pool: a disk that was put back is seen when it looks again.
        picture = replace(picture, volumes=volumes_of(hypervisor, afresh=True))
    for vm_id in plan.unmarked(picture):
        _mark(hypervisor, VM.objects.select_related("project").get(pk=vm_id))
    seen = _dissected(host_id, hypervisor, plan.sightings(picture))
    changed, examined = _changed(host_id, hypervisor, picture)
    ignored = findings.record(host_id, [*seen, *changed], examined, taken_at)
    findings.found_again(plan.found_again(picture))
    return [sighting for sighting in [*seen, *changed] if sighting.key not in ignored]


def _domain(view: DomainView) -> Domain:
    return Domain(view.uuid, view.name, view.power, view.installation, view.persistent)


def _picture(
    host_id: int,
    domains: Mapping[UUID, Domain],
    volumes: tuple[Volume, ...],
    contradictions: Mapping[UUID, str],
    taken_at: datetime,
) -> Picture:
    """The record is read after the host: a VM's row is older than its disk."""
    vms = _recorded(host_id)
    strange = [uuid for uuid, domain in domains.items() if uuid not in vms and domain.mark == settings.INSTALLATION_ID]
    strange += {owner for volume in volumes if (owner := plan.owner_of(volume.name)) and owner not in vms}
    dead = VM.objects.filter(pk__in=strange, deleted_at__isnull=False).values_list("pk", flat=True) if strange else []
    waiting = Cleanup.objects.filter(host=host_id, done_at__isnull=True).values_list("vm", flat=True)
    return Picture(
        installation=settings.INSTALLATION_ID,
        taken_at=taken_at,
        domains=domains,
        volumes=volumes,
        vms=vms,
        others=frozenset(waiting),
        tombstones=frozenset(dead),
        contradictions=contradictions,
    )


def _recorded(host_id: int) -> dict[UUID, RecordedVM]:
    live = VM.objects.live().filter(host=host_id)
    open_ = Operation.objects.filter(vm__in=live).exclude(status=Operation.Status.DONE)
    busy = set(open_.values_list("vm", flat=True))
    disks: dict[UUID, list[tuple[str, datetime]]] = {}
    for vm_id, volume, made_at in Disk.objects.filter(vm__in=live).values_list("vm", "volume", "made_at"):
        if made_at is not None:
            disks.setdefault(vm_id, []).append((volume, made_at))
    rows = live.values_list("pk", "name", "state", "adopted", "lost_at")
    return {
        pk: RecordedVM(pk, name, State(state), pk in busy, adopted, lost_at is not None, tuple(disks.get(pk, ())))
        for pk, name, state, adopted, lost_at in rows
    }


def _dissected(host_id: int, hypervisor: Hypervisor, seen: list[Sighting]) -> list[Sighting]:
    """Sightings of strange domains with their size and disks, read when they are first seen."""
    strange = [sighting for sighting in seen if sighting.kind in STRANGERS]
    known = findings.details_of(host_id, STRANGERS) if strange else {}
    left, found = DEFINITIONS_MAX, []
    for sighting in seen:
        if sighting.kind not in STRANGERS:
            found.append(sighting)
            continue
        anatomy = {k: v for k, v in known.get(sighting.key, {}).items() if k not in sighting.details}
        if not anatomy and left:
            left, anatomy = left - 1, _anatomy(hypervisor, UUID(sighting.details["uuid"]))
        found.append(replace(sighting, details={**anatomy, **sighting.details}))
    return found


def _anatomy(hypervisor: Hypervisor, uuid: UUID) -> dict[str, object]:
    try:
        body = hypervisor.dissect(uuid)
    except HypervisorError as error:
        log.warning("domain %s could not be looked into: %s", uuid, error)
        return {}
    return {} if body is None else {**as_json(body.definition), "disk_bytes": body.disk_bytes}


def _changed(host_id: int, hypervisor: Hypervisor, picture: Picture) -> tuple[list[Sighting], set[tuple[str, str]]]:
    """Definitions that differ from the record, of those whose turn it is; and which were examined."""
    resting = [pk for pk, vm in picture.vms.items() if pk in picture.domains and not (vm.busy or vm.lost)]
    again = {UUID(subject) for _kind, subject in findings.details_of(host_id, [Kind.CHANGED_DEFINITION])}
    read = hypervisor.definitions(resting, DEFINITIONS_MAX, again & set(resting))
    gone = again - set(picture.vms)
    seen = []
    for vm in _with_all(read):
        recorded = from_json(vm.definition) if vm.definition else hypervisor.wanted(spec_of(vm))
        ignored = SIZES if vm.awaits_its_size else frozenset()
        if parts := tuple(d for d in differences(recorded, read[vm.pk]) if d.part not in ignored):
            seen.append(plan.changed(vm.pk, vm.name, vm.adopted, parts))
    return seen, {(Kind.CHANGED_DEFINITION.value, str(pk)) for pk in {*read, *gone}}


def _with_all(vm_ids: Iterable[UUID]) -> list[VM]:
    related = ("project__network", "host", "image", "address")
    return list(VM.objects.live().filter(pk__in=list(vm_ids), host__isnull=False).select_related(*related))


def spec_of(vm: VM) -> DomainSpec:
    """The definition that the record gives the VM."""
    return DomainSpec(**definitions.domain_values(vm), network=NetworkSpec(**definitions.network_values(vm)))


def _mark(hypervisor: Hypervisor, vm: VM) -> None:
    hypervisor.mark(vm.pk, project=vm.project.slug, vm_name=vm.name, generation=vm.fence)


# -- carrying out ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A finding whose choice is to be carried out."""

    finding: Finding
    hypervisor: Hypervisor

    @property
    def uuid(self) -> UUID:
        """Of the domain, or the VM."""
        return UUID(self.finding.subject)


#: What ended it; None: it waits, or is gone by now: the next reconcile tells.
Ending = str | None


def carry_out(host_id: int, hypervisor: Hypervisor) -> int:
    """Carry out what people chose. One failure stops no other; it is told on the finding. Returns how many ended."""
    ended = 0
    for finding in findings.due(host_id, {kind for kind, _choice in ACTS}):
        act = ACTS[Kind(finding.kind), Choice(finding.choice)]
        ended += attempt(finding, partial(act, Case(finding, hypervisor)))
    return ended


def attempt(finding: Finding, act: Callable[[], Ending]) -> bool:
    """Carry one choice out, or say on the finding why it cannot be. True when that settled it."""
    try:
        ending = act()
    except (DomainError, HypervisorError, DatabaseError) as error:
        log.warning("finding %s: %s could not be carried out: %s", finding, finding.choice, error)
        findings.cannot(finding, _said(error))
        return False
    if ending is None:
        return False
    log.info("finding %s: %s was carried out for %s", finding, finding.choice, finding.chosen_by)
    return findings.settle(finding, ending)


def _said(error: Exception) -> str:
    if isinstance(error, ResourcePoolExhausted) and error.reasons:
        return f"{error.text} {'; '.join(f'{host}: {why}' for host, why in error.reasons.items())}"
    return error.text if isinstance(error, DomainError) else str(error)


def _adopt(case: Case) -> Ending:
    view, body = case.hypervisor.look(case.uuid), case.hypervisor.dissect(case.uuid)
    if view is None or body is None:
        return None
    found = Adoptee(
        uuid=view.uuid,
        architecture=body.architecture,
        persistent=view.persistent,
        power=view.power,
        run_id=view.run_id,
        definition=body.definition,
        disk_bytes=body.disk_bytes,
        seen_at=timezone.now(),
    )
    vm = adoption.adopt(case.finding, found)
    _mark(case.hypervisor, vm)  # cut short here, the next reconcile marks it
    return mark("It was adopted.")


def _adopt_volume(case: Case) -> Ending:
    """Its next start defines the VM; until then nothing on the host changes."""
    name, pool = case.finding.subject, Pool(case.finding.details["pool"])
    found = next((view for view in case.hypervisor.list_volumes(pool, afresh=True) if view.name == name), None)
    if found is None:
        return None
    if users := case.hypervisor.users_of(pool, name):
        raise Busy(f"it is in use by {', '.join(users)}")
    base = case.hypervisor.base_of(pool, name)
    adoption.adopt_volume(case.finding, capacity_bytes=found.capacity_bytes, image_file=base)
    return mark("It was adopted.")


def _delete_domain(case: Case) -> Ending:
    view = case.hypervisor.look(case.uuid)
    if view is None:
        return None
    if view.installation != settings.INSTALLATION_ID:
        raise Refused("the domain does not carry this installation's mark any more")
    if not _nobodys(case, case.uuid):
        return None
    case.hypervisor.destroy(case.uuid)
    case.hypervisor.undefine(case.uuid)
    return mark("It was deleted after its quarantine.")


def _delete_volume(case: Case) -> Ending:
    name, pool = case.finding.subject, Pool(case.finding.details["pool"])
    if users := case.hypervisor.users_of(pool, name):
        raise Busy(f"it is in use by {', '.join(users)}")
    if not _nobodys(case, plan.owner_of(name)):
        return None
    case.hypervisor.remove_volume(pool, name, exactly=True)
    return mark("It was deleted after its quarantine.")


def _nobodys(case: Case, owner: UUID | None) -> bool:
    """Whether it may go now: the choice still stands, and neither a VM nor a cleanup accounts for it meanwhile."""
    if owner is not None and findings.belongs_to_somebody(owner):
        raise Refused("it belongs to a VM by now: it is not deleted")
    return findings.still_chosen(case.finding)


def _recreate(case: Case) -> Ending:
    missing = case.finding.details.get("volumes", [])
    there = {volume.name for volume in volumes_of(case.hypervisor, afresh=True)} if missing else set()
    if there & set(missing):
        return None  # it came back: the next reconcile closes the finding
    findings.make_anew(case.finding, missing)
    return mark("It is made anew at the next start.")


def _mark_lost(case: Case) -> Ending:
    findings.mark_lost(case.finding)
    return mark("The VM was declared lost.")


def _accept_definition(case: Case) -> Ending:
    body = case.hypervisor.dissect(case.uuid)
    if body is None:
        return None
    now = as_json(body.definition)
    if any(now[part] != change["found"] for part, change in case.finding.details["changes"].items()):
        raise Refused("it was changed once more since this was chosen: look again, withdraw, choose again")
    findings.accept_definition(case.finding, body.definition)
    return mark("The change was accepted.")


def _restore_definition(case: Case) -> Ending:
    """At once when the VM is off, else at its next cold start, which defines it from the record."""
    view = case.hypervisor.look(case.uuid)
    vm = findings.let_the_record_define(case.finding)
    if view is not None and view.power is Power.OFF and vm.lifecycle_state is State.TERMINATED:
        case.hypervisor.define(spec_of(vm))
        return mark("The record's definition was put back.")
    return None


def _accept_state(case: Case) -> Ending:
    if Contradiction(case.finding.details["contradiction"]) is Contradiction.RESUMED_OUTSIDE:
        findings.resume_as_found(case.finding)
    return None


def _restore_state(case: Case) -> Ending:
    match Contradiction(case.finding.details["contradiction"]):
        case Contradiction.RESUMED_OUTSIDE:
            case.hypervisor.save_memory(case.uuid)
        case Contradiction.MEMORY_IN_THE_WAY:
            case.hypervisor.discard_saved_memory(case.uuid)
        case Contradiction.MARK_LOST:
            _mark(case.hypervisor, _vm_of(case))
    return None


def _vm_of(case: Case) -> VM:
    found = VM.objects.live().select_related("project").filter(pk=case.uuid).first()
    if found is None:
        raise Gone(f"VM {case.uuid} does not exist any more")
    return found


ACTS: Final[dict[tuple[Kind, Choice], Callable[[Case], Ending]]] = {
    (Kind.FOREIGN_DOMAIN, Choice.ADOPT): _adopt,
    (Kind.ORPHANED_DOMAIN, Choice.ADOPT): _adopt,
    (Kind.ORPHANED_DOMAIN, Choice.DELETE): _delete_domain,
    (Kind.UNKNOWN_VOLUME, Choice.ADOPT): _adopt_volume,
    (Kind.UNKNOWN_VOLUME, Choice.DELETE): _delete_volume,
    (Kind.MISSING_DOMAIN, Choice.RECREATE): _recreate,
    (Kind.MISSING_DOMAIN, Choice.MARK_LOST): _mark_lost,
    (Kind.MISSING_DISK, Choice.RECREATE): _recreate,
    (Kind.MISSING_DISK, Choice.MARK_LOST): _mark_lost,
    (Kind.CHANGED_DEFINITION, Choice.ACCEPT): _accept_definition,
    (Kind.CHANGED_DEFINITION, Choice.RESTORE): _restore_definition,
    (Kind.STATE, Choice.ACCEPT): _accept_state,
    (Kind.STATE, Choice.RESTORE): _restore_state,
}
