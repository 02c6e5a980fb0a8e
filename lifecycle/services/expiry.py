"""The end of a suspension: after 60 days the saved memory is discarded; its people are told a week before."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from lifecycle.domain.access import Role
from lifecycle.domain.notifications import Kind, Way, ways_of
from lifecycle.domain.states import State
from lifecycle.models import VM, Operation, User
from lifecycle.realtime import publish
from lifecycle.services import notifications
from lifecycle.services.db import lock_project, service

#: LIFECYCLE: SUSPENDED lasts at most 60 days.
SUSPENDED_DAYS: Final = 60
NOTICE_DAYS: Final = 7


def expires_at(vm: VM) -> datetime | None:
    """When the VM's suspension ends; None when it is not suspended."""
    return vm.state_since + timedelta(days=SUSPENDED_DAYS) if vm.state == State.SUSPENDED else None


def expired(limit: int) -> list[VM]:
    """VMs whose suspension has lasted its 60 days and on which nothing works, longest suspended first."""
    working = Operation.objects.filter(vm=OuterRef("pk")).exclude(status=Operation.Status.DONE)
    found = _suspended_for(timedelta(days=SUSPENDED_DAYS)).filter(~Exists(working))
    return list(found.order_by("state_since")[:limit])


def to_be_noticed(limit: int) -> list[VM]:
    """VMs whose suspension ends within a week and whose people were not told of this suspension's end."""
    untold = Q(expiry_noticed_at__isnull=True) | Q(expiry_noticed_at__lt=F("state_since"))
    found = _suspended_for(timedelta(days=SUSPENDED_DAYS - NOTICE_DAYS)).filter(untold)
    return list(found.select_related("project").order_by("state_since")[:limit])


def _suspended_for(time: timedelta) -> QuerySet[VM]:
    return VM.objects.live().filter(state=State.SUSPENDED, state_since__lte=timezone.now() - time)


def people_of(vm: VM) -> Collection[User]:
    """Who is told by mail: those who can resume the VM, have an address and want to be told."""
    roles = (Role.OWNER, Role.OPERATOR)
    members = User.objects.filter(memberships__project=vm.project_id, memberships__role__in=roles, is_active=True)
    found = members.exclude(email="").distinct().order_by("pk")
    return [user for user in found if Way.MAIL in ways_of(user.notification_choices, Kind.SUSPENSION_ENDING)]


@service
def noticed(vm_id: UUID, suspended_since: datetime) -> bool:
    """Its people were told of the end of this suspension. False when it is over, or they had been told."""
    lock_project(VM.objects.values_list("project_id", flat=True).get(pk=vm_id))
    untold = Q(expiry_noticed_at__isnull=True) | Q(expiry_noticed_at__lt=F("state_since"))
    rows = VM.objects.live().filter(untold, pk=vm_id, state=State.SUSPENDED, state_since=suspended_since)
    if not rows.update(expiry_noticed_at=timezone.now()):
        return False
    notifications.suspension_ending(VM.objects.select_related("project").get(pk=vm_id), SUSPENDED_DAYS)
    publish.vm_changed(vm_id)
    return True
