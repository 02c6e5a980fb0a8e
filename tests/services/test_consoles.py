"""Tickets and sessions of consoles: who gets one, how often it opens, and what ends a session."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.utils import timezone

from lifecycle.domain.access import Role
from lifecycle.domain.errors import Forbidden, NotFound, StateConflict
from lifecycle.domain.states import State
from lifecycle.models import VM, ConsoleKind, ConsoleSession, ConsoleTicket, Host, Project, SerialChunk, User
from lifecycle.realtime import reads
from lifecycle.services import consoles, observations, projects, retention, serial_history
from tests import factories

ORIGIN = "https://vms.example.org:443"
Ending = ConsoleSession.Ending


@pytest.fixture
def vm(project: Project, host: Host, catalog: None) -> VM:
    """`web-1`, RUNNING."""
    return factories.make_vm(project, "web-1", State.RUNNING, host=host)


def session_of(user: User) -> str:
    """A new session's key."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return str(client.session.session_key)


def ticket(vm: VM, user: User, key: str, kind: str = ConsoleKind.SERIAL) -> str:
    return consoles.issue_ticket(vm, kind, user=user, session_key=key, origin=ORIGIN, address="192.0.2.7")


def redeem(token: str, key: str | None, vm_id: UUID, kind: str = "serial", origin: str = ORIGIN) -> consoles.Admission:
    return consoles.redeem(token, session_key=key, origin=origin, vm_id=vm_id, kind=kind)


def opened(vm: VM, user: User) -> tuple[int, str]:
    """An open session and its key."""
    key = session_of(user)
    return redeem(ticket(vm, user, key), key, vm.pk).session_id, key


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_owners_and_operators_open_a_console_and_it_is_written_down(
    vm: VM, who: str, request: pytest.FixtureRequest
) -> None:
    user = request.getfixturevalue(who)
    session_id, _key = opened(vm, user)
    row = ConsoleSession.objects.get(pk=session_id)
    assert (row.vm, row.user, row.kind, row.address, row.closed_at) == (vm, user, "serial", "192.0.2.7", None)


def test_a_viewer_is_refused_and_a_stranger_finds_nothing(vm: VM, viewer: User, stranger: User) -> None:
    with pytest.raises(Forbidden):
        ticket(vm, viewer, session_of(viewer))
    with pytest.raises(NotFound):
        ticket(vm, stranger, session_of(stranger))
    assert not ConsoleTicket.objects.exists()


def test_a_ticket_opens_once(vm: VM, owner: User) -> None:
    key = session_of(owner)
    token = ticket(vm, owner, key)
    redeem(token, key, vm.pk)
    with pytest.raises(consoles.BadTicket):
        redeem(token, key, vm.pk)
    assert ConsoleSession.objects.count() == 1


def test_only_the_hash_of_a_ticket_is_kept(vm: VM, owner: User) -> None:
    token = ticket(vm, owner, session_of(owner))
    row = ConsoleTicket.objects.values().get()
    assert token not in str(row)


def test_a_ticket_is_for_one_vm_kind_origin_and_session(vm: VM, owner: User, project: Project, host: Host) -> None:
    key = session_of(owner)
    token = ticket(vm, owner, key)
    other = factories.make_vm(project, "web-2", State.RUNNING, host=host)
    attempts: list[Callable[[], object]] = [
        lambda: redeem(token, key, other.pk),
        lambda: redeem(token, key, vm.pk, kind="screen"),
        lambda: redeem(token, key, vm.pk, origin="https://evil.example:443"),
        lambda: redeem(token, key, vm.pk, origin=""),
        lambda: redeem(token, session_of(owner), vm.pk),
        lambda: redeem("x" * 43, key, vm.pk),
    ]
    for wrong in attempts:
        with pytest.raises(consoles.BadTicket):
            wrong()
    assert redeem(token, key, vm.pk).vm_id == vm.pk  # none of them used it up


def test_another_persons_session_does_not_open_with_it(vm: VM, owner: User, operator: User) -> None:
    token = ticket(vm, owner, session_of(owner))
    with pytest.raises(consoles.BadTicket):
        redeem(token, session_of(operator), vm.pk)


def test_a_signed_out_person_gets_nothing(vm: VM, owner: User) -> None:
    key = session_of(owner)
    token = ticket(vm, owner, key)
    SessionStore(key).delete()
    for session in (key, None):
        with pytest.raises(reads.Refused):
            redeem(token, session, vm.pk)


def test_a_ticket_is_over_after_seconds(vm: VM, owner: User) -> None:
    key = session_of(owner)
    token = ticket(vm, owner, key)
    ConsoleTicket.objects.update(expires_at=timezone.now())
    with pytest.raises(consoles.BadTicket):
        redeem(token, key, vm.pk)


def test_a_right_lost_after_the_ticket_was_made_opens_nothing(vm: VM, owner: User, operator: User) -> None:
    key = session_of(operator)
    token = ticket(vm, operator, key)
    projects.set_role(vm.project, operator, "viewer", user=owner)
    with pytest.raises(consoles.BadTicket):
        redeem(token, key, vm.pk)


def test_a_deleted_vm_opens_nothing(vm: VM, owner: User) -> None:
    key = session_of(owner)
    token = ticket(vm, owner, key)
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    with pytest.raises(consoles.BadTicket):
        redeem(token, key, vm.pk)


def test_nobody_opens_consoles_without_end(vm: VM, owner: User) -> None:
    for _ in range(consoles.OPEN_MAX):
        ConsoleSession.objects.create(vm=vm, project=vm.project, user=owner, kind="serial")
    with pytest.raises(StateConflict, match="close one"):
        ticket(vm, owner, session_of(owner))


def test_a_session_may_go_on_until_its_right_ends(vm: VM, owner: User, operator: User) -> None:
    session_id, key = opened(vm, operator)
    assert consoles.ending_of(session_id, key) == ""
    projects.set_role(vm.project, operator, "viewer", user=owner)
    assert consoles.ending_of(session_id, key) == Ending.RIGHT_WITHDRAWN
    projects.remove_member(vm.project, operator, user=owner)
    assert consoles.ending_of(session_id, key) == Ending.RIGHT_WITHDRAWN


def test_a_session_ends_with_the_persons_session_or_account(vm: VM, owner: User) -> None:
    session_id, key = opened(vm, owner)
    assert consoles.ending_of(session_id, session_of(factories.make_user())) == Ending.SIGNED_OUT
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert consoles.ending_of(session_id, key) == Ending.SIGNED_OUT
    User.objects.filter(pk=owner.pk).update(is_active=True)
    SessionStore(key).delete()
    assert consoles.ending_of(session_id, key) == Ending.SIGNED_OUT


def test_a_session_ends_with_its_vm(vm: VM, owner: User) -> None:
    session_id, key = opened(vm, owner)
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    assert consoles.ending_of(session_id, key) == Ending.VM_GONE


def test_a_session_is_cut_by_a_team_mate_and_not_by_a_viewer(
    vm: VM, owner: User, operator: User, viewer: User, stranger: User
) -> None:
    session_id, key = opened(vm, owner)
    row = ConsoleSession.objects.get(pk=session_id)
    with pytest.raises(Forbidden):
        consoles.cut(row, user=viewer)
    with pytest.raises(NotFound):
        consoles.cut(row, user=stranger)
    assert consoles.ending_of(session_id, key) == ""
    assert consoles.cut(row, user=operator)
    assert not consoles.cut(row, user=operator)
    assert consoles.ending_of(session_id, key) == Ending.CUT
    row.refresh_from_db()
    assert row.cut_by == operator


def test_an_end_is_written_down_once(vm: VM, owner: User) -> None:
    session_id, _key = opened(vm, owner)
    assert consoles.close(session_id, Ending.LEFT, shown=10, typed=2)
    assert not consoles.close(session_id, Ending.CUT, shown=0, typed=0)
    row = ConsoleSession.objects.get(pk=session_id)
    assert (row.ending, row.bytes_shown, row.bytes_typed) == ("left", 10, 2)
    assert row.closed_at is not None


def test_sessions_of_a_gateway_that_died_are_closed(vm: VM, owner: User) -> None:
    stale, _key = opened(vm, owner)
    fresh, _key = opened(vm, owner)
    long_ago = timezone.now() - timedelta(seconds=consoles.STALE_SECONDS + 1)
    ConsoleSession.objects.filter(pk=stale).update(seen_at=long_ago)
    assert consoles.close_stale() == 1
    assert list(ConsoleSession.objects.open().values_list("pk", flat=True)) == [fresh]
    assert ConsoleSession.objects.get(pk=stale).ending == Ending.GATEWAY


def test_sessions_are_seen_by_members_alone(vm: VM, owner: User, viewer: User, stranger: User) -> None:
    opened(vm, owner)
    assert ConsoleSession.objects.visible_to(viewer).count() == 1
    assert not ConsoleSession.objects.visible_to(stranger).exists()


def test_used_tickets_are_dropped_after_a_day(vm: VM, owner: User) -> None:
    ticket(vm, owner, session_of(owner))
    list(retention.batches())
    assert ConsoleTicket.objects.exists()
    ConsoleTicket.objects.update(expires_at=timezone.now() - timedelta(days=2))
    list(retention.batches())
    assert not ConsoleTicket.objects.exists()


# -- what the serial port said ------------------------------------------------------------------------


def test_the_last_megabyte_is_kept_and_little_more(vm: VM) -> None:
    line = "x" * 99 + "\n"
    position = 0
    for number in range(30):
        text = f"round {number}\n" + line * 600
        assert observations.append_serial(vm.pk, text, read_from=position, read_to=position + len(text))
        position += len(text)
    kept = serial_history.whole(vm.pk)
    assert SerialChunk.KEPT_BYTES <= len(kept) <= SerialChunk.KEPT_BYTES + 2 * SerialChunk.CHARACTERS
    assert "round 29" in kept
    assert "round 1\n" not in kept
    rounds = [int(text.split()[1]) for text in kept.splitlines() if text.startswith("round")]
    assert rounds == list(range(rounds[0], 30))


def test_wide_characters_count_as_their_bytes(vm: VM) -> None:
    text = "é" * 700_000
    observations.append_serial(vm.pk, text, read_from=0, read_to=1_400_000)
    kept = len(serial_history.whole(vm.pk).encode())
    assert SerialChunk.KEPT_BYTES <= kept <= SerialChunk.KEPT_BYTES + 4 * SerialChunk.CHARACTERS


def test_what_another_recorder_wrote_is_not_kept_twice(vm: VM) -> None:
    assert observations.append_serial(vm.pk, "once\n", read_from=0, read_to=5)
    assert not observations.append_serial(vm.pk, "once\n", read_from=0, read_to=5)
    assert serial_history.whole(vm.pk) == "once\n"


def test_lines_are_found_whatever_their_case() -> None:
    text = "Booting\nkernel PANIC at 7\nall well\nno panic\n"
    lines, count = serial_history.search(text, "panic")
    assert count == 2
    assert [(line.number, line.before, line.match, line.after) for line in lines] == [
        (2, "kernel ", "PANIC", " at 7"),
        (4, "no ", "panic", ""),
    ]
    assert serial_history.search(text, "") == ([], 0)
    many, count = serial_history.search("line\n" * 500, "line")
    assert (len(many), count, many[-1].number) == (serial_history.FOUND_MAX, 500, 500)


def test_the_output_goes_with_its_vm(vm: VM) -> None:
    observations.append_serial(vm.pk, "hello\n", read_from=0, read_to=6)
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    observations.forget_serial([vm.pk])
    assert not SerialChunk.objects.exists()


def test_a_role_is_looked_up_afresh(vm: VM, owner: User) -> None:
    newcomer = factories.make_user("nina")
    factories.add_member(vm.project, newcomer, Role.VIEWER)
    with pytest.raises(Forbidden):
        ticket(vm, newcomer, session_of(newcomer))
    projects.set_role(vm.project, newcomer, "operator", user=owner)
    assert ticket(vm, newcomer, session_of(newcomer))
