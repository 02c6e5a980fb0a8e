"""The audit log: written by the services that act, in their transaction; who sends a request is known from outside."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from lifecycle.models import AuditEntry, Project, User
from lifecycle.services.db import service

Channel = AuditEntry.Channel


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the request that is being served came from."""

    channel: str = Channel.SYSTEM
    ip: str | None = None
    agent: str = ""


_NOBODY: Final = Origin()
_ORIGIN: ContextVar[Origin] = ContextVar("origin", default=_NOBODY)
_TARGET_MAX: Final = 200


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """What is recorded inside came from `origin`. The web's middleware says so for every request."""
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


def origin() -> Origin:
    """Where the request that is being served came from."""
    return _ORIGIN.get()


@service
def record(
    action: str,
    *,
    project: Project | None = None,
    user: User | None = None,
    target: str = "",
    details: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Append a line, in the transaction that is open, so that it stands exactly when the change does.

    Args:
        action: a code such as `vm.delete`; `lifecycle.labels.AUDIT` has the words for people.
        user: who did it; None is the product itself, or somebody unknown.
        target: the name of what it was done to.
        details: values worth keeping; never a secret.
    """
    source = origin()
    return AuditEntry.objects.create(
        action=action,
        project=project,
        project_name=project.slug if project else "",
        user=user,
        who=user.get_username() if user else "",
        target=target[:_TARGET_MAX],
        details=dict(details or {}),
        channel=source.channel,
        ip=source.ip,
        agent=source.agent[:_TARGET_MAX],
    )
