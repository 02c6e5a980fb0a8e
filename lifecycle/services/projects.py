"""Projects, members, invitations."""

import hashlib
import secrets
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from lifecycle.domain.access import Right, Role
from lifecycle.domain.errors import InvalidInput, NameTaken, NotFound
from lifecycle.domain.guests import NAME
from lifecycle.models import Invitation, Membership, Project, Quota, User
from lifecycle.realtime import push
from lifecycle.services import audit, notifications
from lifecycle.services.access import require
from lifecycle.services.db import lock_project, service
from lifecycle.services.networks import network_of

INVITATION_DAYS = 7
EMAIL_MAX = 254
_SLUG_MAX = 40


@service
def create_project(slug: str, title: str = "", *, owner: User) -> Project:
    """A project with its quota and network; `owner` is its first owner."""
    if len(slug) > _SLUG_MAX or not NAME.fullmatch(slug):
        raise InvalidInput(
            "A project's name has at most %(most)s small letters, digits and hyphens and starts with a letter.",
            field="slug",
            most=_SLUG_MAX,
        )
    try:
        with transaction.atomic():
            project = Project.objects.create(slug=slug, title=title.strip()[:100])
    except IntegrityError:
        raise NameTaken("There is already a project called %(name)s.", field="slug", name=slug) from None
    Quota.objects.create(project=project)
    Membership.objects.create(project=project, user=owner, role=Role.OWNER)
    network_of(project)
    audit.record("project.create", project=project, user=owner, target=slug)
    return project


@service
def invite(project: Project, email: str, role: str, *, user: User) -> tuple[Invitation, str]:
    """An invitation and its secret, which is shown or mailed once and never stored."""
    _check_may_manage(project, user)
    try:
        validate_email(email)
        MaxLengthValidator(EMAIL_MAX)(email)
    except ValidationError:
        raise InvalidInput("%(value)s is not an e-mail address.", field="email", value=email) from None
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        project=project,
        email=email.lower(),
        role=_role(role),
        token_sha256=_digest(token),
        invited_by=user,
        expires_at=timezone.now() + timedelta(days=INVITATION_DAYS),
    )
    notifications.invited(project, invitation.email, user)
    audit.record("member.invite", project=project, user=user, target=invitation.email, details={"role": role})
    return invitation, token


def find_invitation(token: str) -> Invitation | None:
    """The open, unexpired invitation behind a secret."""
    return (
        Invitation.objects.select_related("project")
        .filter(token_sha256=_digest(token), accepted_at__isnull=True, expires_at__gt=timezone.now())
        .first()
    )


@service
def accept_invitation(token: str, *, user: User) -> Membership:
    """Redeem an invitation, once. A member who had a role keeps the larger one."""
    found = Invitation.objects.select_for_update().filter(token_sha256=_digest(token)).first()
    if found is None or found.accepted_at or found.expires_at <= timezone.now():
        raise NotFound("This invitation was used or has expired. Ask for a new one.")
    now = timezone.now()
    Invitation.objects.filter(pk=found.pk).update(accepted_at=now, accepted_by=user)
    membership, made = Membership.objects.get_or_create(project=found.project, user=user, defaults={"role": found.role})
    order = [Role.VIEWER, Role.OPERATOR, Role.OWNER]
    if not made and order.index(Role(found.role)) > order.index(Role(membership.role)):
        membership.role = found.role
        membership.save(update_fields=["role"])
    details = {"role": membership.role, "invited": found.email}
    audit.record("member.join", project=found.project, user=user, target=user.get_username(), details=details)
    return membership


@service
def revoke_invitation(project: Project, invitation_id: int, *, user: User | None) -> None:
    """Take an open invitation back. `user` None: an operator, whose permission the caller checked."""
    _check_may_manage(project, user)
    found = Invitation.objects.filter(project=project, pk=invitation_id, accepted_at__isnull=True).first()
    if found is not None:
        audit.record("member.revoke", project=project, user=user, target=found.email)
        found.delete()


@service
def set_role(project: Project, member: User, role: str, *, user: User | None) -> None:
    """Change a member's role; the last owner stays owner. `user` None: an operator, as above."""
    project = lock_project(project.pk)
    _check_may_manage(project, user)
    wanted = _role(role)
    membership = _membership(project, member)
    if membership.role == Role.OWNER and wanted is not Role.OWNER:
        _refuse_without_owner(project, member)
    details = {"before": membership.role, "after": wanted}
    membership.role = wanted
    membership.save(update_fields=["role"])
    notifications.role_changed(project, member, wanted, by=user)
    audit.record("member.role", project=project, user=user, target=member.get_username(), details=details)
    push.rights_changed(project.pk)


@service
def remove_member(project: Project, member: User, *, user: User | None) -> None:
    """End a membership (one's own, too); the last owner stays. Open views of the project are cut.

    `user` None: an operator, as above.
    """
    project = lock_project(project.pk)
    if user is None or member.pk != user.pk:
        _check_may_manage(project, user)
    membership = _membership(project, member)
    if membership.role == Role.OWNER:
        _refuse_without_owner(project, member)
    membership.delete()
    notifications.removed(project, member, by=user)
    audit.record("member.remove", project=project, user=user, target=member.get_username())
    push.rights_changed(project.pk)


def _check_may_manage(project: Project, user: User | None) -> None:
    if user is None:
        return
    require(project, user, Right.MANAGE_MEMBERS)


def _membership(project: Project, member: User) -> Membership:
    found = Membership.objects.select_for_update().filter(project=project, user=member).first()
    if found is None:
        raise NotFound("This person is not a member of the project.")
    return found


def _refuse_without_owner(project: Project, member: User) -> None:
    others = Membership.objects.filter(project=project, role=Role.OWNER).exclude(user=member)
    if not others.exists():
        raise InvalidInput("A project needs an owner. Make somebody else an owner first.", field="role")


def _role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise InvalidInput("There is no role %(value)s.", field="role", value=role) from None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
