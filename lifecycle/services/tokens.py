"""Personal access tokens: made, found again by their hash, taken back."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from lifecycle.domain.errors import InvalidInput, NotFound
from lifecycle.models import ApiToken, Project, User
from lifecycle.realtime import push
from lifecycle.services import audit
from lifecycle.services.db import service

#: Every secret begins so: it is recognised wherever it leaks to.
PREFIX: Final = "vmp_"
DAYS: Final = range(1, 367)
TOKENS_MAX: Final = 50
_NAME_MAX: Final = 60
#: The last use is written at most this often: a busy token would write a row a call.
_TOLD_AGAIN_AFTER: Final = timedelta(minutes=1)


@service
def create(
    user: User, name: str, projects: Sequence[Project], *, may_write: bool, days: int = 90
) -> tuple[ApiToken, str]:
    """A token and its secret, which is shown once and never stored.

    Raises:
        InvalidInput: no name, no project, too many tokens, or a life that is not 1 to 366 days.
    """
    name = name.strip()
    if not name or len(name) > _NAME_MAX or not name.isprintable():
        raise InvalidInput("Give the token a name of at most %(most)s characters.", field="name", most=_NAME_MAX)
    if days not in DAYS:
        raise InvalidInput("A token lives 1 to %(most)s days.", field="days", most=DAYS[-1])
    if not projects:
        raise InvalidInput("Choose at least one project for the token.", field="projects")
    visible = set(Project.objects.visible_to(user).filter(pk__in=[p.pk for p in projects]).values_list("pk", flat=True))
    if any(project.pk not in visible for project in projects):
        raise NotFound("There is no such project.")
    if ApiToken.objects.visible_to(user).usable().count() >= TOKENS_MAX:
        raise InvalidInput("You have %(most)s tokens already. Revoke one that is not used.", most=TOKENS_MAX)
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        token_sha256=_digest(secret),
        beginning=secret[:8],
        may_write=may_write,
        expires_at=timezone.now() + timedelta(days=days),
    )
    token.projects.set(projects)
    audit.record("token.create", user=user, target=name, details={"projects": [p.slug for p in projects]})
    return token, secret


@service
def revoke(user: User, token_id: int) -> None:
    """Take one's own token back, at once and for ever; twice changes nothing.

    Raises:
        NotFound: the person has no such token.
    """
    mine = ApiToken.objects.visible_to(user).filter(pk=token_id)
    if not mine.exists():
        raise NotFound("There is no such token.")
    if mine.filter(revoked_at__isnull=True).update(revoked_at=timezone.now()):
        audit.record("token.revoke", user=user, target=mine.get().name)
        push.session_ended(user.pk)


@service
def revoke_as_operator(token: ApiToken, *, user: User) -> bool:
    """Take anybody's token back; the caller checked that `user` is an operator. False: it was revoked before."""
    still = ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True)
    if not still.update(revoked_at=timezone.now()):
        return False
    audit.record("token.revoke", user=user, target=str(token))
    push.session_ended(token.user_id)
    return True


def find(secret: str) -> ApiToken | None:
    """The usable token behind a secret, with its person. The hash is looked up, so no comparison leaks time."""
    if not secret.startswith(PREFIX):
        return None
    return ApiToken.objects.usable().select_related("user").filter(token_sha256=_digest(secret)).first()


def note_use(token: ApiToken) -> None:
    """Write the last use, at most once a minute."""
    now = timezone.now()
    if token.last_used_at is not None and token.last_used_at > now - _TOLD_AGAIN_AFTER:
        return
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - _TOLD_AGAIN_AFTER)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
