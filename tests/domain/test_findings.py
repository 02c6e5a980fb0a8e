"""What a person must choose about, as tables: what is sighted, what is offered, what becomes of open findings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from lifecycle.domain import findings
from lifecycle.domain.definitions import PARTS, Definition, as_json, differences, from_json
from lifecycle.domain.findings import (
    CHOICES,
    CONSEQUENCES,
    Choice,
    Contradiction,
    Domain,
    Kind,
    OpenFinding,
    Picture,
    RecordedVM,
    Sighting,
    Volume,
    choices,
    consequence,
    plan,
    sightings,
)
from lifecycle.domain.states import Power, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS, THEIRS = "abcdef", "012345"
ID = UUID("11111111-1111-4111-8111-111111111111")
DISK = f"{ID}-boot.qcow2"

VM = RecordedVM(ID, "web", State.RUNNING, False, False, False, ((DISK, NOW - timedelta(hours=1)),))
DOMAIN = Domain(ID, "vmp-web", Power.ON, OURS)
VOLUME = Volume("disks", DISK, 2**30, 2**20)


def picture(vm: RecordedVM | None = VM, domain: Domain | None = DOMAIN, *volumes: Volume, **fields: Any) -> Picture:
    """A host with at most one VM and one domain."""
    domains = {} if domain is None else {domain.uuid: domain}
    return Picture(OURS, NOW, domains, volumes, {} if vm is None else {vm.id: vm}, **fields)


def kinds(of: Picture) -> list[Kind]:
    return [sighting.kind for sighting in sightings(of)]


SUSPENDED = replace(VM, state=State.SUSPENDED)
TERMINATED = replace(VM, state=State.TERMINATED)
NEW_DISK = replace(VM, disks=((DISK, NOW + timedelta(seconds=1)),))
OFF, SAVED = replace(DOMAIN, power=Power.OFF), replace(DOMAIN, power=Power.SAVED)
STRANGE, OTHERS = replace(DOMAIN, mark=None), replace(DOMAIN, mark=THEIRS)
ADOPTED = replace(VM, adopted=True)


@pytest.mark.parametrize(
    ("vm", "domain", "volumes", "fields", "expected"),
    [
        (VM, DOMAIN, [VOLUME], {}, []),
        # strange domains
        (None, STRANGE, [], {}, [Kind.FOREIGN_DOMAIN]),
        (None, OTHERS, [], {}, [Kind.FOREIGN_DOMAIN]),
        (None, DOMAIN, [], {}, [Kind.ORPHANED_DOMAIN]),
        (None, DOMAIN, [VOLUME], {}, [Kind.ORPHANED_DOMAIN, Kind.UNKNOWN_VOLUME]),
        (None, DOMAIN, [VOLUME], {"others": frozenset({ID})}, []),  # a cleanup waits for just these
        (None, STRANGE, [], {"others": frozenset({ID})}, [Kind.FOREIGN_DOMAIN]),
        # volumes
        (VM, DOMAIN, [VOLUME, Volume("serial", f"{ID}.log.0", 1, 1)], {}, []),
        (VM, DOMAIN, [VOLUME, Volume("disks", "notes.txt", 1, 1)], {}, [Kind.UNKNOWN_VOLUME]),
        (VM, DOMAIN, [VOLUME, Volume("disks", f"{uuid4()}-boot.qcow2", 1, 1)], {}, [Kind.UNKNOWN_VOLUME]),
        # disks
        (VM, DOMAIN, [], {}, [Kind.MISSING_DISK]),
        (TERMINATED, OFF, [], {}, [Kind.MISSING_DISK]),
        (TERMINATED, None, [], {}, [Kind.MISSING_DOMAIN]),
        (SUSPENDED, None, [], {}, [Kind.MISSING_DOMAIN]),
        (NEW_DISK, DOMAIN, [], {}, []),  # made after the host was asked
        (replace(VM, disks=()), DOMAIN, [], {}, []),  # none was made yet
        (replace(VM, busy=True), DOMAIN, [], {}, []),
        (replace(TERMINATED, lost=True), None, [], {}, []),
        (ADOPTED, DOMAIN, [], {}, []),  # its disks lie elsewhere
        # domains: a start defines one again, where there is a record and nothing is lost with it
        (TERMINATED, None, [VOLUME], {}, []),
        (SUSPENDED, None, [VOLUME], {}, [Kind.MISSING_DOMAIN]),
        (SUSPENDED, OFF, [VOLUME], {}, [Kind.MISSING_DOMAIN]),
        (SUSPENDED, SAVED, [VOLUME], {}, []),
        (replace(ADOPTED, state=State.TERMINATED), None, [], {}, [Kind.MISSING_DOMAIN]),
        # contradictions
        (SUSPENDED, DOMAIN, [VOLUME], {"contradictions": {ID: "it runs"}}, [Kind.STATE]),
        (SUSPENDED, OFF, [VOLUME], {"contradictions": {ID: "memory lost"}}, [Kind.MISSING_DOMAIN]),
        (VM, STRANGE, [VOLUME], {"contradictions": {ID: "not ours"}}, [Kind.STATE]),
        (ADOPTED, STRANGE, [], {"contradictions": {ID: "not ours"}}, []),  # its mark is on its way
        (ADOPTED, OTHERS, [], {"contradictions": {ID: "not ours"}}, [Kind.STATE]),
    ],
)
def test_what_is_sighted(
    vm: RecordedVM | None, domain: Domain | None, volumes: list[Volume], fields: dict[str, Any], expected: list[Kind]
) -> None:
    assert kinds(picture(vm, domain, *volumes, **fields)) == expected


@pytest.mark.parametrize(
    ("state", "domain", "expected"),
    [
        (State.SUSPENDED, DOMAIN, Contradiction.RESUMED_OUTSIDE),
        (State.TERMINATED, SAVED, Contradiction.MEMORY_IN_THE_WAY),
        (State.RUNNING, STRANGE, Contradiction.MARK_LOST),
        (State.RUNNING, OTHERS, Contradiction.MARK_OF_ANOTHER),
        (State.STAGING, DOMAIN, Contradiction.NO_OPERATION),
        (State.STAGING, None, Contradiction.NO_OPERATION),
    ],
)
def test_which_contradiction_it_is(state: State, domain: Domain | None, expected: Contradiction) -> None:
    assert findings.contradiction(OURS, state, domain) is expected


def test_a_domain_of_another_installation_says_so() -> None:
    (theirs,) = sightings(picture(None, OTHERS))
    (nobodys,) = sightings(picture(None, STRANGE))
    assert "another installation" in theirs.text
    assert (theirs.details["mark"], nobodys.details["mark"]) == (THEIRS, "")


def test_only_an_adopted_domain_without_any_mark_is_marked_again() -> None:
    assert findings.unmarked(picture(ADOPTED, STRANGE)) == [ID]
    assert findings.unmarked(picture(ADOPTED, OTHERS)) == []
    assert findings.unmarked(picture(ADOPTED, DOMAIN)) == []
    assert findings.unmarked(picture(VM, STRANGE)) == []


def test_a_lost_vm_that_is_whole_again_is_found_again() -> None:
    lost = replace(TERMINATED, lost=True)
    assert findings.found_again(picture(lost, None, VOLUME)) == [ID]
    assert findings.found_again(picture(lost, None)) == []


# -- choices ---------------------------------------------------------------------------------------


def test_every_kind_offers_to_ignore_it() -> None:
    assert set(CHOICES) == set(Kind)
    assert all(Choice.IGNORE in offered for offered in CHOICES.values())


def test_only_what_bears_our_mark_or_lies_in_our_pools_can_be_deleted() -> None:
    deletable = {kind for kind, offered in CHOICES.items() if Choice.DELETE in offered}
    assert deletable == {Kind.ORPHANED_DOMAIN, Kind.UNKNOWN_VOLUME}


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        (Kind.FOREIGN_DOMAIN, {}, (Choice.ADOPT, Choice.IGNORE)),
        (Kind.ORPHANED_DOMAIN, {}, (Choice.ADOPT, Choice.IGNORE, Choice.DELETE)),
        (Kind.ORPHANED_DOMAIN, {"tombstone": True}, (Choice.IGNORE, Choice.DELETE)),
        (Kind.MISSING_DOMAIN, {}, (Choice.RECREATE, Choice.MARK_LOST, Choice.IGNORE)),
        (Kind.MISSING_DOMAIN, {"adopted": True}, (Choice.MARK_LOST, Choice.IGNORE)),
        (Kind.MISSING_DISK, {}, (Choice.RECREATE, Choice.MARK_LOST, Choice.IGNORE)),
        (Kind.CHANGED_DEFINITION, {}, (Choice.ACCEPT, Choice.RESTORE, Choice.IGNORE)),
        (Kind.CHANGED_DEFINITION, {"adopted": True}, (Choice.ACCEPT, Choice.IGNORE)),
        (Kind.UNKNOWN_VOLUME, {}, (Choice.IGNORE, Choice.DELETE)),
        (Kind.UNKNOWN_VOLUME, {"boot_of": "an id"}, (Choice.ADOPT, Choice.IGNORE, Choice.DELETE)),
        (Kind.BAD_IMAGE, {}, (Choice.RESTORE, Choice.IGNORE)),
        (Kind.STATE, {"contradiction": "resumed_outside"}, (Choice.ACCEPT, Choice.RESTORE, Choice.IGNORE)),
        (Kind.STATE, {"contradiction": "memory_in_the_way"}, (Choice.RESTORE, Choice.IGNORE)),
        (Kind.STATE, {"contradiction": "mark_lost"}, (Choice.RESTORE, Choice.IGNORE)),
        (Kind.STATE, {"contradiction": "mark_of_another"}, (Choice.IGNORE,)),
        (Kind.STATE, {"contradiction": "no_operation"}, (Choice.IGNORE,)),
    ],
)
def test_what_may_be_chosen(kind: Kind, details: dict[str, Any], expected: tuple[Choice, ...]) -> None:
    assert choices(kind, details) == expected


def test_every_choice_but_ignoring_says_what_becomes_of_it() -> None:
    offered: set[tuple[Kind | Contradiction, Choice]] = {
        (kind, choice) for kind in set(Kind) - {Kind.STATE} for choice in CHOICES[kind]
    }
    offered |= {(about, c) for about in Contradiction for c in choices(Kind.STATE, {"contradiction": about.value})}
    assert {pair for pair in offered if pair[1] is not Choice.IGNORE} == set(CONSEQUENCES)
    assert "lost" in consequence(Kind.MISSING_DISK, Choice.RECREATE, {})
    assert consequence(Kind.UNKNOWN_VOLUME, Choice.IGNORE, {}) == ""


# -- against what is open --------------------------------------------------------------------------

SEEN = Sighting(Kind.UNKNOWN_VOLUME, "a.qcow2", "a volume", {"pool": "disks"})
KEPT = OpenFinding(7, "unknown_volume", "a.qcow2", "a volume", {"pool": "disks"})
CHANGED = OpenFinding(8, "changed_definition", str(ID), "changed", {})
IMAGE = OpenFinding(9, "bad_image", "tiny.qcow2", "bad", {})


def test_what_is_new_is_opened() -> None:
    assert plan([], [SEEN], ()) == findings.Plan((SEEN,), (), (), ())


def test_what_is_still_so_is_only_confirmed() -> None:
    assert plan([KEPT], [SEEN], ()) == findings.Plan((), (), (7,), ())


@pytest.mark.parametrize("now", [replace(SEEN, text="another"), replace(SEEN, details={"pool": "serial"})])
def test_what_is_told_otherwise_is_changed(now: Sighting) -> None:
    assert plan([KEPT], [now], ()) == findings.Plan((), ((7, now),), (), ())


def test_what_is_not_seen_any_more_is_gone() -> None:
    assert plan([KEPT], [], ()).gone == (7,)


def test_what_was_not_examined_is_left_alone() -> None:
    assert plan([CHANGED, IMAGE], [], ()).gone == ()
    assert plan([CHANGED, IMAGE], [], [("changed_definition", str(ID))]).gone == (8,)


# -- definitions -----------------------------------------------------------------------------------

SHAPE = Definition(1, 128, None, (("vda", DISK),), (("52:54:00:00:00:01", "net", "filter"),), ("hd",))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"vcpus": 2}, "vcpus"),
        ({"memory_mib": 256}, "memory_mib"),
        ({"cpu_quota_percent": 25}, "cpu_quota_percent"),
        ({"disks": ()}, "disks"),
        ({"interfaces": ()}, "interfaces"),
        ({"boot": ("network",)}, "boot"),
    ],
)
def test_each_part_that_matters_is_compared(change: dict[str, Any], part: str) -> None:
    assert [d.part for d in differences(SHAPE, replace(SHAPE, **change))] == [part]
    assert part in PARTS


def test_a_definition_is_kept_as_it_is() -> None:
    assert from_json(as_json(SHAPE)) == SHAPE
    assert differences(SHAPE, from_json(as_json(SHAPE))) == ()


def test_the_record_can_follow_sizes_only() -> None:
    assert findings.only_sizes({"changes": {"vcpus": {}, "memory_mib": {}}})
    assert not findings.only_sizes({"changes": {"vcpus": {}, "disks": {}}})
