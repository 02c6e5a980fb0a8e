"""Costs by label: by the labels that VMs had at the time, whatever they have now."""

from decimal import Decimal

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.test import Client

from lifecycle.billing import allocation, costs
from lifecycle.billing.allocation import Share
from lifecycle.domain.pricing import Item
from lifecycle.models import VM, Host, MeteringInterval, Project, User, guards
from lifecycle.services import metering, vm_details
from tests import factories
from tests.billing.tools import feb, image_born, price_list, stop, vm_born

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

NOW = feb(11)


@pytest.fixture
def vm(project: Project, host: Host, catalog: None) -> VM:
    """1.00 an hour for its vCPU, from the first; env=prod."""
    price_list([(Item.VCPU, "1")])
    return vm_born(project, feb(1), "web-1", labels={"env": "prod", "team": "a"})


def shares(project: Project, key: str) -> dict[str | None, Decimal]:
    return {share.value: share.amount for share in allocation.by_label(project, key, NOW).shares}


def test_an_interval_keeps_the_labels_of_its_beginning(vm: VM, owner: User) -> None:
    vm_details.set_labels(vm, {"env": "test"}, user=owner)
    stop(vm, feb(3))
    found = MeteringInterval.objects.filter(vm=vm).order_by("pk").values_list("state", "labels")
    assert list(found) == [
        ("RUNNING", {"env": "prod", "team": "a"}),
        ("STOPPING", {"env": "test"}),
        ("TERMINATED", {"env": "test"}),
    ]


def test_costs_are_allocated_by_the_labels_of_the_time(vm: VM, project: Project, owner: User) -> None:
    vm_born(project, feb(6), "web-2", labels={"env": "test"})
    vm_born(project, feb(9), "web-3")
    vm_details.set_labels(vm, {"env": "other"}, user=owner)  # what it cost so far stays with prod
    assert shares(project, "env") == {"prod": Decimal(240), "test": Decimal(120), None: Decimal(48)}
    assert shares(project, "team") == {"a": Decimal(240), None: Decimal(168)}
    found = allocation.by_label(project, "nothing", NOW)
    assert (found.key, found.keys, found.total) == ("env", ("env", "team"), Decimal(408))


def test_without_labels_or_prices(project: Project, host: Host, catalog: None) -> None:
    vm_born(project, feb(10), "web-1")
    assert allocation.by_label(project, "env", NOW).shares == ()
    price_list([(Item.VCPU, "1")])
    assert allocation.by_label(project, "env", NOW).shares == (Share(None, Decimal(24)),)


def test_images_have_no_labels(vm: VM, project: Project) -> None:
    price_list([(Item.VCPU, "1"), (Item.IMAGE, "2")], feb(8))
    image_born(project, feb(7), "base", 1024)
    found = allocation.by_label(project, "env", NOW)
    assert found.shares == (Share("prod", Decimal(240)), Share(None, Decimal(2 * (NOW - feb(8)).days * 24)))
    assert found.total == costs.of_project(project, NOW).so_far


def test_an_interval_that_was_lost_gets_the_labels_of_now(vm: VM, project: Project) -> None:
    MeteringInterval.objects.all().delete()
    metering.repair(vm.pk)
    assert shares(project, "env") == {"prod": Decimal(240)}


def test_kept_labels_are_not_changed(vm: VM) -> None:
    with pytest.raises(IntegrityError, match=guards.CLOSED_ONLY), transaction.atomic():
        MeteringInterval.objects.update(labels={"env": "x"})


def test_the_page_shows_a_label_to_members_alone(vm: VM, client: Client, viewer: User, stranger: User) -> None:
    backend = "django.contrib.auth.backends.ModelBackend"
    with time_machine.travel(NOW, tick=False):
        client.force_login(viewer, backend=backend)
        page = client.get("/projects/lab/billing/labels/", {"key": "team"}).content.decode()
        assert '<option value="team" selected>' in page
        assert "240.00 EUR" in page
        assert client.get("/projects/lab/billing/labels/", {"key": "\0<b>"}).status_code == 200
        client.force_login(stranger, backend=backend)
        assert client.get("/projects/lab/billing/labels/").status_code == 404


def test_other_projects_vms_are_not_counted(vm: VM, project: Project, owner: User) -> None:
    vm_born(factories.make_project(owner=owner), feb(1), "theirs", labels={"env": "prod"})
    assert shares(project, "env") == {"prod": Decimal(240)}
