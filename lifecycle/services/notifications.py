"""Notifications: written in the transaction of what they tell of; mailed afterwards, by whoever looks next."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from lifecycle.domain.access import Right, Role, roles_with
from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.notifications import Kind, Way, ways_of
from lifecycle.domain.text import mark
from lifecycle.domain.transitions import Asker
from lifecycle.models import VM, Notification, Operation, Project, Repair, User
from lifecycle.services.db import service

ATTEMPTS_MAX: Final = 8
#: Who asks for things without a person who waits for their end.
_UNATTENDED: Final = frozenset({Asker.SCHEDULE, Asker.POLICY})
_PAUSE_SECONDS: Final = 60  # doubled with every attempt


# -- what happened -------------------------------------------------------------------------------


def operation_failed(operation_id: UUID) -> None:
    """Tell who asked for it; of what the clock or a policy asked for, those who can act. Needs an open transaction."""
    operation = Operation.objects.select_related("user", "project", "vm").get(pk=operation_id)
    if operation.user is None and operation.asked_by not in _UNATTENDED:
        return
    slug = operation.project.slug
    path = f"/projects/{slug}/operations/{operation.pk}/"
    values = {"action": operation.action, "name": operation.target_name, "project": slug}
    text = mark("%(action)s of %(name)s in the project %(project)s failed.")
    people = [operation.user] if operation.user else _users_of(operation.project)
    _tell(people, Kind.OPERATION_FAILED, text, values, operation.project, path)


def repair_opened(vm: VM) -> None:
    """Tell those who can do something about it. Needs an open transaction."""
    text = mark("%(name)s in the project %(project)s is in repair.")
    _tell(_users_of(vm.project), Kind.REPAIR_OPENED, text, _about(vm), vm.project, _page(vm))


def repair_closed(vm: VM, outcome: Repair.Outcome) -> None:
    """Tell those who were told that it was opened. Needs an open transaction."""
    up = outcome in {Repair.Outcome.RESTARTED, Repair.Outcome.UNTOUCHED}
    text = (
        mark("The repair of %(name)s in the project %(project)s is over: it runs.")
        if up
        else mark("The repair of %(name)s in the project %(project)s is over: it does not run.")
    )
    _tell(_users_of(vm.project), Kind.REPAIR_CLOSED, text, _about(vm), vm.project, _page(vm))


def suspension_ending(vm: VM, days: int) -> None:
    """Tell those who can resume it, in the portal; the mail about it has its own way. Needs an open transaction."""
    ends = vm.state_since + timedelta(days=days)
    text = mark("The suspension of %(name)s in the project %(project)s ends on %(date)s; then its memory is lost.")
    values = {**_about(vm), "date": ends.date().isoformat()}
    _tell(_users_of(vm.project), Kind.SUSPENSION_ENDING, text, values, vm.project, _page(vm), without=Way.MAIL)


def invited(project: Project, email: str, by: User) -> None:
    """Tell the person, if the address belongs to an account. The link is a secret and is not kept here."""
    people = User.objects.filter(email__iexact=email, is_active=True)
    text = mark("%(who)s invites you to the project %(project)s. The link in the invitation brings you in.")
    _tell(people, Kind.INVITED, text, {"who": by.get_username(), "project": project.slug}, None, "")


def role_changed(project: Project, member: User, role: str, *, by: User | None) -> None:
    """Tell the member, unless it was their own doing."""
    if by is None or by.pk != member.pk:
        text = mark("Your role in the project %(project)s is now: %(role)s.")
        values = {"project": project.slug, "role": role}
        _tell([member], Kind.MEMBERSHIP, text, values, project, f"/projects/{project.slug}/members/")


def removed(project: Project, member: User, *, by: User | None) -> None:
    """Tell the former member, unless they left."""
    if by is None or by.pk != member.pk:
        text = mark("You are no longer a member of the project %(project)s.")
        _tell([member], Kind.MEMBERSHIP, text, {"project": project.slug}, None, "")


def schedule_failed(vm: VM, action: str, due_at: datetime) -> None:
    """Tell those who can act that a due time was missed or refused. Needs an open transaction."""
    text = mark("The schedule of %(name)s in the project %(project)s did not work (%(action)s, %(date)s).")
    values = {**_about(vm), "action": action, "date": f"{due_at:%Y-%m-%d %H:%M %Z}"}
    _tell(_users_of(vm.project), Kind.SCHEDULE, text, values, vm.project, f"{_page(vm)}schedules/")


def budget(project: Project, text: str, values: Mapping[str, str]) -> None:
    """Tell those who can do something about a budget that was reached. Needs an open transaction.

    `text` is marked, and so are its translations.
    """
    path = f"/projects/{project.slug}/billing/budgets/"
    _tell(_users_of(project), Kind.BUDGET, text, values, project, path)


def maintenance(project: Project, text: str, values: Mapping[str, str]) -> None:
    """Tell those who can act that hosts of the project's VMs will be worked on, or not. Needs an open transaction.

    `text` is marked, and so are its translations.
    """
    _tell(_users_of(project), Kind.MAINTENANCE, text, values, project, f"/projects/{project.slug}/vms/")


def _users_of(project: Project) -> list[User]:
    """The members who can start and stop its VMs."""
    roles: list[Role] = roles_with(Right.USE_VMS)
    return list(User.objects.filter(memberships__project=project, memberships__role__in=roles, is_active=True))


def _about(vm: VM) -> dict[str, str]:
    return {"name": vm.name, "project": vm.project.slug}


def _page(vm: VM) -> str:
    return f"/projects/{vm.project.slug}/vms/{vm.name}/"


def _tell(
    people: Iterable[User],
    kind: Kind,
    text: str,
    params: Mapping[str, Any],
    project: Project | None,
    path: str,
    *,
    without: Way | None = None,
) -> None:
    now = timezone.now()
    rows = []
    for user in people:
        ways = ways_of(user.notification_choices, kind) - {without}
        by_mail = Way.MAIL in ways and settings.MAIL_ENABLED and bool(user.email)
        here = Way.PORTAL in ways
        if here or by_mail:
            due = now if by_mail else None
            values = {"kind": kind, "text": text, "params": dict(params), "path": path, "at": now}
            rows.append(Notification(user=user, project=project, in_portal=here, mail_due_at=due, **values))
    Notification.objects.bulk_create(rows)
    seen_here = [row.user_id for row in rows if row.in_portal]
    User.objects.filter(pk__in=seen_here).update(unread_notifications=F("unread_notifications") + 1)


# -- what people do with them --------------------------------------------------------------------


@service
def read(user: User, notification_id: int | None = None) -> Notification | None:
    """One is read, or all (None); returns the one. Somebody else's is not found."""
    mine = Notification.objects.filter(user=user)
    found = mine.filter(pk=notification_id).first() if notification_id is not None else None
    rows = mine.unread() if notification_id is None else mine.unread().filter(pk=notification_id)
    rows.update(read_at=timezone.now())
    User.objects.filter(pk=user.pk).update(unread_notifications=mine.unread().count())
    return found


@service
def choose(user: User, choices: Mapping[str, Iterable[str]]) -> None:
    """By which ways a person is told of each kind. Raises InvalidInput for one that is not known."""
    wanted = {kind: sorted(set(ways)) for kind, ways in choices.items()}
    if wanted.keys() - set(Kind) or any(set(ways) - set(Way) for ways in wanted.values()):
        raise InvalidInput("There is no such notification.")
    User.objects.filter(pk=user.pk).update(notification_choices=wanted)


# -- mail ----------------------------------------------------------------------------------------


def due(limit: int) -> list[int]:
    """Mails whose time has come, oldest first."""
    found = _waiting().filter(mail_due_at__lte=timezone.now()).order_by("mail_due_at", "pk")
    return list(found.values_list("pk", flat=True)[:limit])


@service
def claim(notification_id: int) -> Notification | None:
    """Take one to mail it; None when another process has it. Attempt and pause are written before the work."""
    found = _waiting().filter(pk=notification_id).select_related("user", "project").first()
    if found is None:
        return None
    now = timezone.now()
    pause = timedelta(seconds=_PAUSE_SECONDS * 2**found.mail_attempts)
    mine = _waiting().filter(pk=notification_id, mail_due_at__lte=now, mail_attempts=found.mail_attempts)
    if not mine.update(mail_attempts=F("mail_attempts") + 1, mail_due_at=now + pause):
        return None
    found.mail_attempts += 1
    return found


@service
def mailed(notification: Notification) -> None:
    """It is with the mail server."""
    _waiting().filter(pk=notification.pk).update(mailed_at=timezone.now())


@service
def not_mailed(notification: Notification, *, for_good: bool = False) -> None:
    """It was not taken: again after its pause, or given up."""
    if for_good or notification.mail_attempts >= ATTEMPTS_MAX:
        _waiting().filter(pk=notification.pk).update(given_up_at=timezone.now())


def _waiting() -> QuerySet[Notification]:
    return Notification.objects.filter(Q(mail_due_at__isnull=False, mailed_at__isnull=True, given_up_at__isnull=True))
