"""Findings: what a host and the record disagree about, what a person chose, and what the choice writes.

The reconciler of the host records what it sights and carries the choices out; people choose and withdraw.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from lifecycle.domain import findings as domain
from lifecycle.domain import guests
from lifecycle.domain.definitions import Definition, as_json
from lifecycle.domain.errors import InvalidInput, NameTaken, NotFound, OperationInProgress, StateConflict
from lifecycle.domain.findings import Choice, Kind, OpenFinding, Sighting
from lifecycle.domain.quotas import Amounts
from lifecycle.domain.states import HOLDS_COMPUTE, State
from lifecycle.domain.text import mark
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Cleanup, Disk, Finding, Project, User
from lifecycle.realtime import publish
from lifecycle.services import capacity, config_changes, operations, quotas
from lifecycle.services.db import lock_project, service
from lifecycle.services.transitions import move
from lifecycle.services.vms import custom_type, request_action

GONE: Final = mark("It is gone by itself.")
SETTLED: Final = mark("It is settled, as was chosen.")
LOST: Final = mark("Lost: its host has no trace of its domain or its disk any more.")
MADE_ANEW: Final = mark("What its host lost is made anew at its next start.")
GIB: Final = 2**30

# -- what is seen ----------------------------------------------------------------------------------


@service
def record(
    host_id: int, seen: Iterable[Sighting], examined: Collection[tuple[str, str]], at: datetime
) -> set[tuple[str, str]]:
    """Open what is new, refresh what is still so, close what is gone: a handful of queries whatever the number.

    Returns the (kind, subject) of those that a person has told to be ignored.
    """
    kept = list(Finding.objects.select_for_update().filter(host=host_id, closed_at__isnull=True))
    plan = domain.plan([_kept(row) for row in kept], seen, examined)
    rows = {row.pk: row for row in kept}
    Finding.objects.bulk_create(
        [_opened(host_id, sighting, at) for sighting in plan.opened], batch_size=200, ignore_conflicts=True
    )
    for pk, sighting in plan.changed:
        rows[pk].text, rows[pk].details, rows[pk].last_seen_at = sighting.text, sighting.details, at
    Finding.objects.bulk_update(
        [rows[pk] for pk, _sighting in plan.changed], ["text", "details", "last_seen_at"], batch_size=200
    )
    if plan.seen:
        Finding.objects.filter(pk__in=plan.seen).update(last_seen_at=at)
    _close([pk for pk in plan.gone if rows[pk].choice in {"", Choice.IGNORE}], GONE)
    _close([pk for pk in plan.gone if rows[pk].choice not in {"", Choice.IGNORE}], SETTLED)
    return {(row.kind, row.subject) for row in kept if row.choice == Choice.IGNORE}


def details_of(host_id: int, kinds: Iterable[Kind]) -> dict[tuple[str, str], dict[str, Any]]:
    """(kind, subject) -> details of the host's open findings of these kinds."""
    rows = Finding.objects.filter(host=host_id, closed_at__isnull=True, kind__in=list(kinds))
    return {(kind, subject): details for kind, subject, details in rows.values_list("kind", "subject", "details")}


def _kept(row: Finding) -> OpenFinding:
    return OpenFinding(row.pk, row.kind, row.subject, row.text, row.details)


def _opened(host_id: int, sighting: Sighting, at: datetime) -> Finding:
    return Finding(
        host_id=host_id,
        kind=sighting.kind,
        subject=sighting.subject,
        vm_id=sighting.vm_id,
        text=sighting.text[:500],
        details=sighting.details,
        first_seen_at=at,
        last_seen_at=at,
    )


def _close(pks: Collection[int], because: str) -> None:
    if pks:
        rows = Finding.objects.filter(pk__in=pks, closed_at__isnull=True)
        rows.update(closed_at=timezone.now(), closed_because=because[:200], problem="")


@service
def record_image(host_id: int, sighting: Sighting | None, name: str, at: datetime) -> None:
    """Note how one golden image of the host was found; None: as it should be."""
    key = {"host": host_id, "kind": Kind.BAD_IMAGE, "subject": name, "closed_at__isnull": True}
    rows = Finding.objects.filter(**key)
    if sighting is None:
        _close(list(rows.values_list("pk", flat=True)), GONE)
    elif not rows.update(last_seen_at=at, details=sighting.details):
        Finding.objects.bulk_create([_opened(host_id, sighting, at)], ignore_conflicts=True)


@service
def found_again(vm_ids: Collection[UUID]) -> int:
    """VMs declared lost of which nothing is missing any more."""
    return VM.objects.filter(pk__in=list(vm_ids), lost_at__isnull=False).update(lost_at=None) if vm_ids else 0


# -- what a person chooses -------------------------------------------------------------------------


def choices(finding: Finding) -> tuple[Choice, ...]:
    """What may be chosen about the finding now; nothing once it is closed."""
    return domain.choices(Kind(finding.kind), finding.details) if finding.closed_at is None else ()


def consequence(finding: Finding, choice: Choice) -> str:
    """What becomes of it, as a text to be translated; empty for IGNORE."""
    return domain.consequence(Kind(finding.kind), choice, finding.details)


@service
def choose(finding: Finding, choice: Choice, user: User, *, project: Project | None = None, name: str = "") -> Finding:
    """Note what an operator chose; the reconciler of the host carries it out. The caller checked the permission.

    Args:
        project, name: of the VM that an adopted domain becomes.

    Raises:
        StateConflict: the finding is closed.
        InvalidInput, NameTaken: the choice is not offered, or its particulars will not do.
    """
    row = still_open(finding.pk)
    if choice not in choices(row):
        offered = ", ".join(choices(row))
        raise InvalidInput(
            "%(choice)s is not possible here. Possible: %(offered)s.", field="choice", choice=choice, offered=offered
        )
    row.choice_data = _particulars(project, name) if choice is Choice.ADOPT else {}
    row.choice, row.chosen_by, row.chosen_at, row.problem = choice.value, user, timezone.now(), ""
    quarantine = timedelta(days=settings.FINDING_QUARANTINE_DAYS)
    row.due_at = row.chosen_at + quarantine if choice is Choice.DELETE else None
    row.save(update_fields=["choice", "choice_data", "chosen_by", "chosen_at", "due_at", "problem"])
    return row


@service
def withdraw(finding: Finding, user: User) -> Finding:
    """Take a choice back: the finding waits for another. Raises StateConflict when it is closed already."""
    row = still_open(finding.pk)
    row.choice, row.choice_data, row.due_at, row.problem = "", {}, None, ""
    row.chosen_by, row.chosen_at = user, timezone.now()
    row.save(update_fields=["choice", "choice_data", "chosen_by", "chosen_at", "due_at", "problem"])
    return row


def still_open(pk: int) -> Finding:
    """The finding, locked. Raises StateConflict when it is closed."""
    row = Finding.objects.select_for_update().filter(pk=pk).first()
    if row is None or row.closed_at is not None:
        raise StateConflict("This finding is closed: %(why)s", why=row.closed_because if row else GONE)
    return row


def _particulars(project: Project | None, name: str) -> dict[str, Any]:
    if project is None:
        raise InvalidInput("Choose the project that the VM belongs to.", field="project")
    refuse_taken(project, guests.check_name(name))
    return {"project": project.pk, "name": name}


def refuse_taken(project: Project, name: str) -> None:
    """Raises NameTaken when a VM of the project has the name."""
    if VM.objects.live().filter(project=project, name=name).exists():
        raise NameTaken("This project already has a VM called %(name)s.", field="name", name=name)


# -- carrying out ----------------------------------------------------------------------------------


def due(host_id: int, kinds: Collection[Kind]) -> list[Finding]:
    """Open findings of the host and these kinds whose choice is to be carried out now."""
    now = timezone.now()
    rows = Finding.objects.filter(host=host_id, closed_at__isnull=True, kind__in=list(kinds))
    rows = rows.exclude(choice__in=["", Choice.IGNORE])
    return list(rows.filter(Q(due_at__isnull=True) | Q(due_at__lte=now)).select_related("chosen_by").order_by("pk"))


@service
def still_chosen(finding: Finding) -> bool:
    """Whether the choice stands and its time has come: asked just before something that cannot be taken back."""
    rows = Finding.objects.filter(pk=finding.pk, closed_at__isnull=True, choice=finding.choice)
    return rows.filter(chosen_at=finding.chosen_at, due_at__lte=timezone.now()).exists()


def belongs_to_somebody(vm_id: UUID) -> bool:
    """Whether a live VM, or a cleanup that waits, accounts for what bears this id, on whatever host."""
    return (
        VM.objects.live().filter(pk=vm_id).exists() or Cleanup.objects.filter(vm=vm_id, done_at__isnull=True).exists()
    )


@service
def settle(finding: Finding, because: str) -> bool:
    """The choice is carried out. False when it was withdrawn or changed meanwhile."""
    rows = Finding.objects.filter(pk=finding.pk, closed_at__isnull=True, choice=finding.choice)
    return bool(rows.update(closed_at=timezone.now(), closed_because=because[:200], problem=""))


@service
def cannot(finding: Finding, problem: str) -> None:
    """Say why the choice could not be carried out; it is tried again."""
    Finding.objects.filter(pk=finding.pk, closed_at__isnull=True, choice=finding.choice).update(problem=problem[:300])


# -- what a choice does to a VM's record -----------------------------------------------------------


@service
def mark_lost(finding: Finding) -> None:
    """The VM is TERMINATED and says that it is lost."""
    vm = _at_rest(finding)
    _rest_in_terminated(vm, LOST, finding.chosen_by)
    VM.objects.filter(pk=vm.pk).update(lost_at=timezone.now())


@service
def make_anew(finding: Finding, volumes: Collection[str]) -> None:
    """The VM is TERMINATED; its next start makes these disks, which are missing, and its domain."""
    vm = _at_rest(finding)
    _rest_in_terminated(vm, MADE_ANEW, finding.chosen_by)
    Disk.objects.filter(vm=vm, volume__in=list(volumes)).update(made_at=None)
    VM.objects.filter(pk=vm.pk).update(lost_at=None, definition=None)


@service
def accept_definition(finding: Finding, found: Definition) -> None:
    """The record follows a changed definition. What it has no words for is kept as it is on the host.

    A guest that runs gets a new size at its next start; quota and the host's capacity hold it from now on.

    Raises:
        QuotaExceeded, ResourcePoolExhausted: nothing was written.
    """
    vm = _at_rest(finding)
    running = vm.lifecycle_state in HOLDS_COMPUTE
    more = (max(0, found.vcpus - vm.vcpus), max(0, found.memory_mib - vm.memory_mib))
    quotas.check(vm.project, Amounts(0, *(more if running else (0, 0))))
    resized = (found.vcpus, found.memory_mib) != (vm.vcpus, vm.memory_mib)
    vm.vcpus, vm.memory_mib, vm.cpu_quota_percent = found.vcpus, found.memory_mib, found.cpu_quota_percent
    if resized:
        vm.machine_type = custom_type(found.vcpus, found.memory_mib)
    if vm.definition is not None or not domain.only_sizes(finding.details):
        vm.definition = as_json(found)
    with config_changes.recorded(vm.pk, user=finding.chosen_by, asked_by=Asker.OPERATOR):
        vm.save(update_fields=["vcpus", "memory_mib", "cpu_quota_percent", "machine_type", "definition"])
    if resized and running:
        capacity.reserve(vm)
    publish.vm_changed(vm.pk)


@service
def let_the_record_define(finding: Finding) -> VM:
    """The next cold start defines the VM from its record again."""
    vm = _at_rest(finding)
    VM.objects.filter(pk=vm.pk).update(definition=None)
    vm.definition = None
    return vm


@service
def resume_as_found(finding: Finding) -> None:
    """A suspended VM that runs becomes RUNNING by an ordinary resume, which finds its work done."""
    request_action(_at_rest(finding), Action.RESUME, user=finding.chosen_by, as_operator=True)


def _at_rest(finding: Finding) -> VM:
    """The finding's VM, its project locked, with no operation open on it."""
    found = VM.objects.live().filter(findings=finding).first()
    if found is None:
        raise NotFound("The VM does not exist any more.")
    lock_project(found.project_id)
    related = ("project", "host", "zone", "image", "machine_type", "address", "project__network")
    vm = VM.objects.live().select_related(*related).get(pk=found.pk)
    if (running := operations.current(vm.pk)) is not None:
        raise OperationInProgress(
            "%(running)s is under way on %(name)s; this has to wait until it is done.",
            running=running.action,
            name=vm.name,
        )
    return vm


def _rest_in_terminated(vm: VM, reason: str, user: User | None) -> None:
    """Take a VM that does not run to TERMINATED. Its saved memory is gone or goes: the way is that of an expiry."""
    if vm.lifecycle_state not in {State.TERMINATED, State.SUSPENDED}:
        raise InvalidInput("%(name)s is %(state)s: stop it first.", name=vm.name, state=vm.state)
    if vm.lifecycle_state is State.TERMINATED:
        VM.objects.filter(pk=vm.pk).update(state_reason=reason)
        publish.vm_changed(vm.pk)
        return
    operation = operations.record_done(vm, Action.EXPIRE, asked_by=Asker.OPERATOR, user=user)
    for source, target in ((State.SUSPENDED, State.STOPPING), (State.STOPPING, State.TERMINATED)):
        move(
            vm.pk,
            Action.EXPIRE,
            source,
            target,
            asked_by=Asker.OPERATOR,
            operation=operation,
            user=user,
            reason=reason,
        )
