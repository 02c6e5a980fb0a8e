"""The audit log in the admin: what operators change is in it, and nothing of it can be changed."""

import pytest
from django.test import Client
from django.urls import reverse

from lifecycle.models import AuditEntry, Zone
from lifecycle.services import audit


def test_what_operators_do_to_rows_is_recorded(admin_client: Client) -> None:
    admin_client.post(reverse("admin:lifecycle_zone_add"), {"name": "zone-x", "title": "East"})
    zone = Zone.objects.get(name="zone-x")
    change = reverse("admin:lifecycle_zone_change", args=[zone.pk])
    admin_client.post(change, {"name": "zone-x", "title": "West"})
    found = list(AuditEntry.objects.filter(action__startswith="row.").order_by("pk"))
    assert [(entry.action, entry.channel, entry.who) for entry in found] == [
        ("row.add", "admin", "ada"),
        ("row.change", "admin", "ada"),
    ]
    assert "zone-x" in found[0].target
    assert "itle" in found[1].details["fields"]


def test_the_log_is_listed_searched_and_looked_at(admin_client: Client) -> None:
    entry = audit.record("vm.delete", target="web-1", details={"state": "RUNNING"})
    audit.record("vm.start", target="web-2")
    address = reverse("admin:lifecycle_auditentry_changelist")
    page = admin_client.get(address, {"q": "web-1"}).content.decode()
    assert "VM deleted" in page
    assert "web-2" not in page
    shown = admin_client.get(reverse("admin:lifecycle_auditentry_change", args=[entry.pk])).content.decode()
    assert "RUNNING" in shown


@pytest.mark.parametrize("page", ["change", "delete"])
def test_nobody_changes_or_deletes_a_line(admin_client: Client, page: str) -> None:
    entry = audit.record("vm.delete", target="web-1")
    admin_client.post(reverse(f"admin:lifecycle_auditentry_{page}", args=[entry.pk]), {"who": "nobody", "post": "yes"})
    assert AuditEntry.objects.get(pk=entry.pk).who == ""
