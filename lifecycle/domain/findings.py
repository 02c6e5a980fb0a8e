"""Where a host and the record disagree and a person must choose: which disagreements, and which choices, pure.

`sightings` compares one host with the record; `plan` compares what was sighted with the findings that are open;
`choices` says what may be chosen about a finding. Nothing here acts.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from lifecycle.domain.definitions import SIZES, Difference
from lifecycle.domain.states import Power, State
from lifecycle.domain.text import mark


class Kind(StrEnum):
    """What disagrees. The value is the key under which a reconcile counts it."""

    FOREIGN_DOMAIN = "foreign_domain"
    ORPHANED_DOMAIN = "orphaned_domain"
    MISSING_DOMAIN = "missing_domain"
    MISSING_DISK = "missing_disk"
    CHANGED_DEFINITION = "changed_definition"
    UNKNOWN_VOLUME = "unknown_volume"
    BAD_IMAGE = "bad_image"
    STATE = "state"


class Choice(StrEnum):
    """What a person may choose."""

    ADOPT = "adopt"
    IGNORE = "ignore"
    RECREATE = "recreate"
    MARK_LOST = "mark_lost"
    ACCEPT = "accept"
    RESTORE = "restore"
    DELETE = "delete"


class Contradiction(StrEnum):
    """What a finding of kind STATE is about."""

    RESUMED_OUTSIDE = "resumed_outside"  # SUSPENDED, and it runs
    MEMORY_IN_THE_WAY = "memory_in_the_way"  # TERMINATED, and there is saved memory
    MARK_LOST = "mark_lost"  # the domain carries no mark
    MARK_OF_ANOTHER = "mark_of_another"  # the domain carries another installation's mark
    NO_OPERATION = "no_operation"  # in transition, and nobody works on it


#: What each kind offers at most, in the order of the buttons. `choices` takes away what the case does not allow.
CHOICES: Final[dict[Kind, tuple[Choice, ...]]] = {
    Kind.FOREIGN_DOMAIN: (Choice.ADOPT, Choice.IGNORE),
    Kind.ORPHANED_DOMAIN: (Choice.ADOPT, Choice.IGNORE, Choice.DELETE),
    Kind.MISSING_DOMAIN: (Choice.RECREATE, Choice.MARK_LOST, Choice.IGNORE),
    Kind.MISSING_DISK: (Choice.RECREATE, Choice.MARK_LOST, Choice.IGNORE),
    Kind.CHANGED_DEFINITION: (Choice.ACCEPT, Choice.RESTORE, Choice.IGNORE),
    Kind.UNKNOWN_VOLUME: (Choice.ADOPT, Choice.IGNORE, Choice.DELETE),
    Kind.BAD_IMAGE: (Choice.RESTORE, Choice.IGNORE),
    Kind.STATE: (Choice.ACCEPT, Choice.RESTORE, Choice.IGNORE),
}

#: Choices about a contradiction. ACCEPT: the record follows; RESTORE: the host follows.
_OF_CONTRADICTION: Final[dict[Contradiction, tuple[Choice, ...]]] = {
    Contradiction.RESUMED_OUTSIDE: (Choice.ACCEPT, Choice.RESTORE, Choice.IGNORE),
    Contradiction.MEMORY_IN_THE_WAY: (Choice.RESTORE, Choice.IGNORE),
    Contradiction.MARK_LOST: (Choice.RESTORE, Choice.IGNORE),
    Contradiction.MARK_OF_ANOTHER: (Choice.IGNORE,),
    Contradiction.NO_OPERATION: (Choice.IGNORE,),
}

#: What becomes of it, for the person who chooses: by kind and choice, then by contradiction and choice.
CONSEQUENCES: Final[dict[tuple[Kind | Contradiction, Choice], str]] = {
    (Kind.FOREIGN_DOMAIN, Choice.ADOPT): mark("It becomes a VM of a project as it is, without a restart."),
    (Kind.ORPHANED_DOMAIN, Choice.ADOPT): mark("It becomes a VM of a project as it is, without a restart."),
    (Kind.ORPHANED_DOMAIN, Choice.DELETE): mark(
        "After the quarantine it is switched off and its definition is removed. Its volumes stay: each is a finding "
        "of its own."
    ),
    (Kind.MISSING_DOMAIN, Choice.RECREATE): mark(
        "The VM is TERMINATED, and its next start makes from the record what is missing. Memory that was saved is "
        "lost; where the disk is missing it begins anew from its image, and all that was on it is lost."
    ),
    (Kind.MISSING_DOMAIN, Choice.MARK_LOST): mark(
        "The VM is TERMINATED and says that it is lost. Its record stays until somebody deletes it."
    ),
    (Kind.MISSING_DISK, Choice.RECREATE): mark(
        "The next start makes a new disk from the image: all that was on the old one is lost."
    ),
    (Kind.MISSING_DISK, Choice.MARK_LOST): mark(
        "The VM is TERMINATED and says that it is lost. Its record stays until somebody deletes it."
    ),
    (Kind.CHANGED_DEFINITION, Choice.ACCEPT): mark(
        "The record follows: the VM's size is what was found, within the project's quota. Other changes are kept as "
        "they are on the host."
    ),
    (Kind.CHANGED_DEFINITION, Choice.RESTORE): mark(
        "The record's definition is put back at once when the VM is off, else at its next cold start."
    ),
    (Kind.UNKNOWN_VOLUME, Choice.ADOPT): mark(
        "A VM of a project is made around this disk: TERMINATED, of the default machine type, with a new address. Its "
        "next start boots from the disk as it is."
    ),
    (Kind.UNKNOWN_VOLUME, Choice.DELETE): mark("After the quarantine the volume and all that is on it is deleted."),
    (Kind.BAD_IMAGE, Choice.RESTORE): mark(
        "The image is uploaded again. The disks of VMs made from it stand on it: with another content below them "
        "they may be damaged already."
    ),
    (Contradiction.RESUMED_OUTSIDE, Choice.ACCEPT): mark("The VM is RUNNING, within the project's quota."),
    (Contradiction.RESUMED_OUTSIDE, Choice.RESTORE): mark("Its memory is saved again; it stays SUSPENDED."),
    (Contradiction.MEMORY_IN_THE_WAY, Choice.RESTORE): mark("The saved memory is thrown away; it stays TERMINATED."),
    (Contradiction.MARK_LOST, Choice.RESTORE): mark("The domain gets this installation's mark again."),
}


def choices(kind: Kind, details: Mapping[str, Any]) -> tuple[Choice, ...]:
    """What may be chosen about a finding with these details."""
    if kind is Kind.STATE:
        return _OF_CONTRADICTION[Contradiction(details["contradiction"])]
    return tuple(choice for choice in CHOICES[kind] if choice not in _ruled_out(kind, details))


def consequence(kind: Kind, choice: Choice, details: Mapping[str, Any]) -> str:
    """A sentence on what becomes of it; empty for IGNORE."""
    about = Contradiction(details["contradiction"]) if kind is Kind.STATE else kind
    return CONSEQUENCES.get((about, choice), "")


def _ruled_out(kind: Kind, details: Mapping[str, Any]) -> frozenset[Choice]:
    out = set()
    if details.get("tombstone"):  # a VM of this id was deleted here: its record does not come back to life
        out.add(Choice.ADOPT)
    if details.get("adopted"):  # its definition and its disks were made by others: the record cannot make them
        out.add(Choice.RESTORE if kind is Kind.CHANGED_DEFINITION else Choice.RECREATE)
    if kind is Kind.UNKNOWN_VOLUME and not details.get("boot_of"):  # no boot disk of ours, or its VM's domain is there
        out.add(Choice.ADOPT)
    return frozenset(out)


# -- what a host shows against the record ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sighting:
    """A disagreement as it is now; `subject` is a VM's id, a domain's id, a volume's or an image's name."""

    kind: Kind
    subject: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)
    vm_id: UUID | None = None

    @property
    def key(self) -> tuple[str, str]:
        """One finding a key and host is open at a time."""
        return self.kind.value, self.subject


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain on the host; `mark` is the installation in its metadata."""

    uuid: UUID
    name: str
    power: Power
    mark: str | None
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of our pools."""

    pool: str
    name: str
    capacity_bytes: int
    allocation_bytes: int


@dataclass(frozen=True, slots=True)
class RecordedVM:
    """A live VM of the host. `disks`: the volumes that were made, with the moment; `busy`: an operation is open."""

    id: UUID
    name: str
    state: State
    busy: bool
    adopted: bool
    lost: bool
    disks: tuple[tuple[str, datetime], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One host and its record, each read once; the host before the record.

    Attributes:
        others: ids of VMs that account for what bears their name: tombstones with a cleanup that waits.
        tombstones: which ids that strange domains and volumes bear belong to deleted VMs.
        contradictions: what `recovery.decide` calls a finding, by VM: its text.
    """

    installation: str
    taken_at: datetime
    domains: Mapping[UUID, Domain]
    volumes: tuple[Volume, ...]
    vms: Mapping[UUID, RecordedVM]
    others: frozenset[UUID] = frozenset()
    tombstones: frozenset[UUID] = frozenset()
    contradictions: Mapping[UUID, str] = field(default_factory=dict)


def sightings(picture: Picture) -> list[Sighting]:
    """Everything on the host that a person must choose about, but definitions and images."""
    found = [_strange(picture, domain) for domain in picture.domains.values() if domain.uuid not in picture.vms]
    found += [_of_vm(picture, vm) for vm in picture.vms.values()]
    found += [_unknown(picture, volume) for volume in picture.volumes]
    return [sighting for sighting in found if sighting is not None]


def found_again(picture: Picture) -> list[UUID]:
    """VMs declared lost of which nothing is missing any more."""
    return [vm.id for vm in picture.vms.values() if vm.lost and not vm.busy and not _missing(picture, vm)]


def unmarked(picture: Picture) -> list[UUID]:
    """Adopted VMs whose domain has no mark yet: the adoption was cut short, and has one right answer."""
    return [vm.id for vm in picture.vms.values() if not vm.busy and _is_unmarked(picture, vm)]


def _is_unmarked(picture: Picture, vm: RecordedVM) -> bool:
    domain = picture.domains.get(vm.id)
    return vm.adopted and domain is not None and domain.mark is None


def _strange(picture: Picture, domain: Domain) -> Sighting | None:
    details: dict[str, Any] = {
        "uuid": str(domain.uuid),
        "name": domain.name,
        "power": domain.power.value,
        "persistent": domain.persistent,
    }
    if domain.mark != picture.installation:
        details["mark"] = domain.mark or ""
        text = mark("a domain that this installation did not make")
        if domain.mark:
            text = mark("a domain of another installation: adopt it only when that one is gone for good")
        return Sighting(Kind.FOREIGN_DOMAIN, str(domain.uuid), text, details)
    if domain.uuid in picture.others:
        return None
    details["tombstone"] = domain.uuid in picture.tombstones
    return Sighting(Kind.ORPHANED_DOMAIN, str(domain.uuid), mark("a domain of ours without a VM on this host"), details)


def _of_vm(picture: Picture, vm: RecordedVM) -> Sighting | None:
    missing = None if vm.busy or vm.lost else _missing(picture, vm)
    if missing is not None:
        return missing
    if vm.id not in picture.contradictions or vm.lost or _is_unmarked(picture, vm):
        return None
    return _contradiction(picture, vm)


def _missing(picture: Picture, vm: RecordedVM) -> Sighting | None:
    """What of the VM is not there. A domain alone is no finding: a start defines it again from the record."""
    domain = picture.domains.get(vm.id)
    names = {volume.name for volume in picture.volumes}
    disks = [volume for volume, made_at in vm.disks if made_at < picture.taken_at and volume not in names]
    disk_gone = bool(disks) and not vm.adopted  # others' disks lie where others put them
    details: dict[str, Any] = {"name": vm.name, "adopted": vm.adopted, "data_lost": disk_gone}
    if disk_gone:
        details["volumes"] = disks
    if domain is None and (disk_gone or vm.state is State.SUSPENDED or vm.adopted):
        return Sighting(Kind.MISSING_DOMAIN, str(vm.id), _missing_text(vm, disk_gone), details, vm.id)
    if vm.state is State.SUSPENDED and domain is not None and domain.power in {Power.OFF, Power.CRASHED}:
        details["data_lost"] = False
        text = mark("a suspended VM has lost its saved memory")
        return Sighting(Kind.MISSING_DOMAIN, str(vm.id), text, details, vm.id)
    if disk_gone:
        return Sighting(Kind.MISSING_DISK, str(vm.id), mark("a VM's disk is not on its host"), details, vm.id)
    return None


def _missing_text(vm: RecordedVM, disk_gone: bool) -> str:
    if disk_gone:
        return mark("neither the domain nor the disk of a VM is on its host")
    if vm.state is State.SUSPENDED:
        return mark("the domain of a suspended VM is gone, and its saved memory with it")
    return mark("the domain of an adopted VM is gone: only who made it can define it again")


def _contradiction(picture: Picture, vm: RecordedVM) -> Sighting:
    domain = picture.domains.get(vm.id)
    details = {"name": vm.name, "contradiction": contradiction(picture.installation, vm.state, domain).value}
    return Sighting(Kind.STATE, str(vm.id), picture.contradictions[vm.id], details, vm.id)


def contradiction(installation: str, state: State, domain: Domain | None) -> Contradiction:
    """Which contradiction `recovery.decide` found."""
    if domain is not None and domain.mark != installation:
        return Contradiction.MARK_LOST if domain.mark is None else Contradiction.MARK_OF_ANOTHER
    if state is State.SUSPENDED:
        return Contradiction.RESUMED_OUTSIDE
    if state is State.TERMINATED:
        return Contradiction.MEMORY_IN_THE_WAY
    return Contradiction.NO_OPERATION


def _unknown(picture: Picture, volume: Volume) -> Sighting | None:
    owner = owner_of(volume.name)
    if owner is not None and (owner in picture.vms or owner in picture.others):
        return None
    text = mark("a volume in our pool that belongs to no VM of this host")
    details: dict[str, Any] = {
        "pool": volume.pool,
        "capacity_bytes": volume.capacity_bytes,
        "allocation_bytes": volume.allocation_bytes,
    }
    known = owner in picture.domains or owner in picture.tombstones
    if owner is not None and not known and volume.name == boot_volume(owner):
        details["boot_of"] = str(owner)
    return Sighting(Kind.UNKNOWN_VOLUME, volume.name, text, details)


def owner_of(volume: str) -> UUID | None:
    """The VM whose id a volume's name begins with."""
    try:
        return UUID(volume[:36])
    except ValueError:
        return None


def boot_volume(vm_id: UUID) -> str:
    """What the boot disk of a VM that we made is called on its host."""
    return f"{vm_id}-boot.qcow2"


def changed(vm_id: UUID, name: str, adopted: bool, parts: Collection[Difference]) -> Sighting:
    """The sighting of a definition that was changed outside."""
    details = {
        "name": name,
        "adopted": adopted,
        "changes": {part.part: {"recorded": part.recorded, "found": part.found} for part in parts},
    }
    text = mark("the definition of a VM was changed outside of the portal")
    return Sighting(Kind.CHANGED_DEFINITION, str(vm_id), text, details, vm_id)


def only_sizes(details: Mapping[str, Any]) -> bool:
    """Whether the record itself can take over all that was changed."""
    return set(details.get("changes", {})) <= SIZES


# -- against the findings that are open ------------------------------------------------------------

#: Kinds that every reconcile looks at whole; of the others only the subjects that were examined are known.
WHOLE: Final = frozenset(Kind) - {Kind.CHANGED_DEFINITION, Kind.BAD_IMAGE}


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """An open finding as it is kept."""

    pk: int
    kind: str
    subject: str
    text: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a host's findings."""

    opened: tuple[Sighting, ...]
    changed: tuple[tuple[int, Sighting], ...]
    seen: tuple[int, ...]
    gone: tuple[int, ...]


def plan(kept: Iterable[OpenFinding], seen: Iterable[Sighting], examined: Collection[tuple[str, str]]) -> Plan:
    """Compare what is open with what was sighted.

    Args:
        examined: the (kind, subject) of the kinds outside `WHOLE` that were looked at; what was not is left alone.
    """
    now = {sighting.key: sighting for sighting in seen}
    open_ = {(finding.kind, finding.subject): finding for finding in kept}
    both = [(open_[key], now[key]) for key in open_ if key in now]
    return Plan(
        opened=tuple(sighting for key, sighting in now.items() if key not in open_),
        changed=tuple((old.pk, new) for old, new in both if (old.text, old.details) != (new.text, new.details)),
        seen=tuple(old.pk for old, new in both if (old.text, old.details) == (new.text, new.details)),
        gone=tuple(
            old.pk for key, old in open_.items() if key not in now and (key[0] in WHOLE or key in set(examined))
        ),
    )
