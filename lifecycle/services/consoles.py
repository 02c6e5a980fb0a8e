"""Consoles: tickets, sessions, and whether one may go on. All that the gateway knows of people is here.

A ticket is a secret that a page asks for and its websocket shows at once: single use, seconds long, and good for the
one session, origin, VM and kind it was made for. The database keeps its hash.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.utils import timezone

from lifecycle.domain.access import Right, may
from lifecycle.domain.errors import Forbidden, NotFound, StateConflict
from lifecycle.models import VM, ConsoleSession, ConsoleTicket, Project, User
from lifecycle.realtime import reads
from lifecycle.services.db import service

TICKET_SECONDS: Final = 30
#: Sessions that a person may have open at once.
OPEN_MAX: Final = 20
#: A session of a gateway that says nothing for so long has ended with it.
STALE_SECONDS: Final = 60

Ending = ConsoleSession.Ending

#: Close codes of a console's websocket beside those of `realtime.reads`.
BAD_TICKET: Final = 4409
CODES: Final[dict[str, int]] = {
    Ending.SIGNED_OUT: reads.NO_SESSION,
    Ending.RIGHT_WITHDRAWN: reads.RIGHT_WITHDRAWN,
    Ending.VM_GONE: reads.NO_PROJECT,
    Ending.CUT: 4410,
    Ending.NO_DEVICE: 4411,
    Ending.TAKEN: 4412,
    Ending.VM_OFF: 4413,
    Ending.HOST_LOST: 4414,
    Ending.GATEWAY: 1012,
    Ending.LEFT: 1000,
}


class BadTicket(Exception):
    """No such ticket, or it was used, is over, or is for another session, origin, VM or kind: it is not told which."""


@dataclass(frozen=True, slots=True)
class Admission:
    """An open session and where its VM is."""

    session_id: int
    vm_id: UUID
    kind: str


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a VM's console is to be found now; `uri` is empty where there is none."""

    uri: str
    state: str


@service
def issue_ticket(vm: VM, kind: str, *, user: User, session_key: str, origin: str, address: str | None) -> str:
    """A new ticket's secret.

    Raises:
        Forbidden: the role does not allow using VMs, and a console is more than looking.
        StateConflict: the person has too many consoles open.
    """
    _check_may_use(vm.project, user)
    if ConsoleSession.objects.open().filter(user=user).count() >= OPEN_MAX:
        raise StateConflict("You have %(most)s consoles open: close one first.", most=OPEN_MAX)
    token = secrets.token_urlsafe(32)
    ConsoleTicket.objects.create(
        token_sha256=_digest(token),
        user=user,
        vm=vm,
        kind=kind,
        origin=origin,
        session_sha256=_digest(session_key),
        address=address or None,
        expires_at=timezone.now() + timedelta(seconds=TICKET_SECONDS),
    )
    return token


@service
def redeem(token: str, *, session_key: str | None, origin: str, vm_id: UUID, kind: str) -> Admission:
    """Use the ticket up and open its session. One UPDATE decides who used it.

    Raises:
        realtime.reads.Refused: the session is over.
        BadTicket: anything else is wrong.
    """
    user = reads.user_of(session_key)
    now = timezone.now()
    ticket = ConsoleTicket.objects.filter(
        token_sha256=_digest(token),
        session_sha256=_digest(session_key or ""),
        user=user,
        vm=vm_id,
        kind=kind,
        origin=origin,
        used_at__isnull=True,
        expires_at__gt=now,
    )
    if not ticket.update(used_at=now):
        raise BadTicket
    vm = VM.objects.live().select_related("project").filter(pk=vm_id).first()
    if vm is None or not may(vm.project.role_of(user), Right.USE_VMS):
        raise BadTicket
    address = ConsoleTicket.objects.values_list("address", flat=True).get(token_sha256=_digest(token))
    made = ConsoleSession.objects.create(vm=vm, project=vm.project, user=user, kind=kind, address=address)
    return Admission(made.pk, vm.pk, kind)


def ending_of(session_id: int, session_key: str | None) -> str:
    """Why the session must end now; "" while it may go on. Reads only: five small queries."""
    row = ConsoleSession.objects.select_related("vm__project").filter(pk=session_id).first()
    if row is None or row.closed_at is not None or row.cut_at is not None:
        return Ending.CUT
    if row.vm.deleted_at is not None:
        return Ending.VM_GONE
    try:
        user = reads.user_of(session_key)
    except reads.Refused:
        return Ending.SIGNED_OUT
    if user.pk != row.user_id:
        return Ending.SIGNED_OUT
    return "" if may(row.vm.project.role_of(user), Right.USE_VMS) else Ending.RIGHT_WITHDRAWN


def whereabouts(vm_id: UUID) -> Whereabouts:
    """The VM's host and state."""
    row = VM.objects.live().filter(pk=vm_id).values_list("host__uri", "state").first()
    return Whereabouts(row[0] or "", row[1]) if row else Whereabouts("", "")


@service
def seen(counts: dict[int, tuple[int, int]]) -> None:
    """Sessions that go on, with the bytes shown and typed so far."""
    now = timezone.now()
    for session_id, (shown, typed) in counts.items():
        ConsoleSession.objects.open().filter(pk=session_id).update(seen_at=now, bytes_shown=shown, bytes_typed=typed)


@service
def close(session_id: int, ending: str, *, shown: int, typed: int) -> bool:
    """Write down a session's end; False when it was written already."""
    now = timezone.now()
    rows = ConsoleSession.objects.open().filter(pk=session_id)
    return bool(rows.update(closed_at=now, ending=ending, seen_at=now, bytes_shown=shown, bytes_typed=typed))


@service
def close_stale() -> int:
    """Write down the end of sessions whose gateway has been silent; returns how many."""
    rows = ConsoleSession.objects.open().filter(seen_at__lt=timezone.now() - timedelta(seconds=STALE_SECONDS))
    return rows.update(closed_at=timezone.now(), ending=Ending.GATEWAY)


@service
def cut(session: ConsoleSession, *, user: User, as_operator: bool = False) -> bool:
    """Tell an open session to end; its gateway does so within seconds. False when it had ended.

    `as_operator`: the caller checked that `user` may cut any.
    Raises Forbidden where the role does not allow using VMs.
    """
    if not as_operator:
        _check_may_use(session.project, user)
    rows = ConsoleSession.objects.open().filter(pk=session.pk, cut_at__isnull=True)
    return bool(rows.update(cut_at=timezone.now(), cut_by=user))


def cut_all(sessions: Iterable[ConsoleSession], *, user: User) -> int:
    """As an operator; returns how many were open."""
    return sum(cut(session, user=user, as_operator=True) for session in sessions)


def _check_may_use(project: Project, user: User) -> None:
    role = project.role_of(user)
    if role is None:
        raise NotFound("There is no such VM.")
    if not may(role, Right.USE_VMS):
        raise Forbidden("Your role in this project (%(role)s) does not allow this. Ask an owner.", role=role)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
