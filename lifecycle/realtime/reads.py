"""What a live connection reads of the database: may its user still look, and which events are missing."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.utils.crypto import constant_time_compare

from lifecycle.domain.access import Role
from lifecycle.models import VM, Event, Host, Project, User
from lifecycle.realtime import messages, recent
from lifecycle.realtime.programs import Bearer

NO_SESSION = 4401
RIGHT_WITHDRAWN = 4403
NO_PROJECT = 4404


class Refused(Exception):
    """The connection may not be, or stay; `code` is the close code of the websocket."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Look:
    """A project as a session sees it now; `number` is that of its latest event."""

    project_id: int
    user_id: int
    role: Role
    number: int


def look(session_key: str | None, slug: str) -> Look:
    """Look through a session at a project: four small queries.

    Raises:
        Refused: the session is over (or was opened with a one-time password that must be changed first),
            or its user may not see such a project.
    """
    user = user_of(session_key)
    return _looked(user, Project.objects.visible_to(user).filter(slug=slug).first())


def look_by_token(bearer: Bearer, slug: str, *, opening: bool) -> Look:
    """Look with a program's token at a project that the token was made for.

    Raises:
        Refused: it is no usable token, opens another project, or asks too often.
    """
    token = bearer.admit(bearer.secret, slug, opening=opening)
    if token is None:
        raise Refused(NO_SESSION)
    visible = Project.objects.visible_to(token.user).filter(slug=slug, api_tokens=token)
    return _looked(token.user, visible.first())


def _looked(user: User, project: Project | None) -> Look:
    role = project.role_of(user) if project else None
    if project is None or role is None:
        raise Refused(NO_PROJECT)
    return Look(project.pk, user.pk, role, project.last_event_number)


@dataclass(frozen=True, slots=True)
class UsageLook(Look):
    """A subject of usage as a session sees it now. A host is in no project: its id is 0."""

    subject: str


def look_at_usage(session_key: str | None, kind: str, name: str) -> UsageLook:
    """Look through a session at a VM (by id), a project (by name) or a host (by name; for operators).

    Raises:
        Refused: as `look` does.
    """
    user = user_of(session_key)
    if kind == "hosts":
        host = Host.objects.filter(name=name).first() if user.is_staff else None
        if host is not None:
            return UsageLook(0, user.pk, Role.VIEWER, 0, recent.host_subject(host.pk))
    elif kind == "projects":
        project = Project.objects.visible_to(user).filter(slug=name).first()
        if project is not None:
            return UsageLook(project.pk, user.pk, Role.VIEWER, 0, recent.project_subject(project.pk))
    else:
        vm = VM.objects.live().visible_to(user).filter(pk__in=_uuids(name)).first()
        if vm is not None:
            return UsageLook(vm.project_id, user.pk, Role.VIEWER, 0, recent.vm_subject(vm.pk))
    raise Refused(NO_PROJECT)


def _uuids(text: str) -> list[UUID]:
    try:
        return [UUID(text)]
    except ValueError:
        return []


def latest_number(project_id: int) -> int:
    """The number of the project's latest event; 0 before the first."""
    return Project.objects.values_list("last_event_number", flat=True).get(pk=project_id)


def events(project_id: int, after: int, upto: int, limit: int) -> list[dict[str, Any]]:
    """The first `limit` events with `after` < number <= `upto`, as the messages they were pushed as."""
    rows = Event.objects.filter(project_id=project_id, number__gt=after, number__lte=upto)
    return [
        {
            "v": messages.VERSION,
            "type": "event",
            "number": row.number,
            "kind": row.kind,
            "payload": row.payload,
            "at": row.at.isoformat(),
        }
        for row in rows.order_by("number")[:limit]
    ]


def user_of(session_key: str | None) -> User:
    """Whose session it is, read afresh. Nothing is written: a check must not renew what it checks.

    Raises:
        Refused: the session is over, or was opened with a one-time password that must be changed first.
    """
    data = SessionStore(session_key).load() if session_key else {}
    user = User.objects.filter(pk=data[SESSION_KEY], is_active=True).first() if SESSION_KEY in data else None
    if user is None or user.must_change_password or not _fits_password(data.get(HASH_SESSION_KEY, ""), user):
        raise Refused(NO_SESSION)
    return user


def _fits_password(session_hash: str, user: User) -> bool:
    """A session made under an earlier password is over."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, known) for known in hashes)
