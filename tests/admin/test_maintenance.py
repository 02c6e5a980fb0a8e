"""Maintenance in the administration: announced, refused when it is too late, cancelled, and never changed."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from lifecycle.models import VM, Host, Maintenance, Notification, User

pytestmark = pytest.mark.django_db

LIST = "admin:lifecycle_maintenance_changelist"


def form(host: Host, start: datetime) -> dict[str, object]:
    end = start + timedelta(hours=2)
    return {
        "host": host.pk,
        "starts_at_0": f"{start:%Y-%m-%d}",
        "starts_at_1": f"{start:%H:%M:%S}",
        "ends_at_0": f"{end:%Y-%m-%d}",
        "ends_at_1": f"{end:%H:%M:%S}",
        "reason": "A new disk",
    }


def test_it_is_announced_and_cancelled_and_not_changed(admin_client: Client, make_vm: Callable[..., VM]) -> None:
    host = make_vm("web-1").host
    assert host
    add = reverse("admin:lifecycle_maintenance_add")
    assert admin_client.post(add, form(host, timezone.now() + timedelta(hours=30))).status_code == 302
    row = Maintenance.objects.get()
    assert (row.host, row.reason, row.announced_by) == (host, "A new disk", User.objects.get(username="ada"))
    assert Notification.objects.filter(kind="maintenance").exists()
    change = reverse("admin:lifecycle_maintenance_change", args=[row.pk])
    assert admin_client.post(change, form(host, timezone.now() + timedelta(hours=90))).status_code == 403
    assert admin_client.post(reverse("admin:lifecycle_maintenance_delete", args=[row.pk])).status_code == 403
    page = admin_client.get(reverse(LIST)).content.decode()
    assert "announced" in page
    answer = admin_client.post(reverse(LIST), {"action": "cancel", "_selected_action": [row.pk]}, follow=True)
    assert "cancelled." in answer.content.decode()
    row.refresh_from_db()
    assert row.cancelled_at
    again = admin_client.post(reverse(LIST), {"action": "cancel", "_selected_action": [row.pk]}, follow=True)
    assert "is cancelled already" in again.content.decode()


def test_what_comes_too_late_is_refused_in_words(admin_client: Client, make_vm: Callable[..., VM]) -> None:
    host = make_vm("web-1").host
    assert host
    answer = admin_client.post(
        reverse("admin:lifecycle_maintenance_add"), form(host, timezone.now() + timedelta(hours=3)), follow=True
    )
    assert "at least 24 hours before" in answer.content.decode()
    assert not Maintenance.objects.exists()


@pytest.mark.parametrize(("permission", "seen"), [("lifecycle.view_vm", 403), ("lifecycle.view_maintenance", 200)])
def test_others_do_not_announce(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], permission: str, seen: int
) -> None:
    browser = as_user(make_staff(permission))
    assert browser.get(reverse(LIST)).status_code == seen
    assert browser.get(reverse("admin:lifecycle_maintenance_add")).status_code == 403
