"""Every page of the admin: it loads for the staff, and for nobody else."""

from collections.abc import Callable

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from lifecycle.models import (
    VM,
    Address,
    Event,
    Host,
    Image,
    Invitation,
    MachineType,
    Network,
    Operation,
    Project,
    Quota,
    Transition,
    User,
    Zone,
)

OURS = [
    *(VM, Operation, Transition, Host, Zone, Image, MachineType),
    *(Network, Address, Project, Quota, Invitation, User),
]
WRITTEN_BY_THE_PRODUCT = [VM, Operation, Transition, Network, Address]


def listing(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def adding(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def registered() -> list[type[Model]]:
    return sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.mark.parametrize("model", registered(), ids=lambda model: model._meta.label)
def test_every_list_loads_for_the_staff(admin_client: Client, everything: object, model: type[Model]) -> None:
    assert admin_client.get(listing(model)).status_code == 200


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_row_has_a_page(admin_client: Client, everything: object, model: type[Model]) -> None:
    row = model._default_manager.first()
    assert row is not None
    assert admin_client.get(page(row)).status_code == 200


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_list_can_be_searched(admin_client: Client, everything: object, model: type[Model]) -> None:
    assert admin_client.get(listing(model), {"q": "web-1"}).status_code == 200


@pytest.mark.parametrize("model", [MachineType, Zone, Project, User], ids=lambda model: model.__name__)
def test_what_people_make_has_a_form(admin_client: Client, model: type[Model]) -> None:
    assert admin_client.get(adding(model)).status_code == 200


@pytest.mark.parametrize("model", registered(), ids=lambda model: model._meta.label)
def test_a_visitor_is_led_to_the_portals_door(client: Client, model: type[Model]) -> None:
    first = client.get(listing(model))
    assert first.status_code == 302
    door = client.get(first["Location"])
    assert door.status_code == 302
    assert door["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize("model", registered(), ids=lambda model: model._meta.label)
def test_a_tenant_is_refused(as_user: Callable[[User], Client], model: type[Model], db: None) -> None:
    tenant = as_user(User.objects.create_user("tenant", password="irrelevant-but-long"))
    response = tenant.get(listing(model), follow=True)
    assert response.status_code == 403


def test_staff_without_permissions_see_the_overview_and_no_numbers(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], everything: object
) -> None:
    browser = as_user(make_staff())
    overview = browser.get(reverse("admin:index"))
    assert overview.status_code == 200
    assert overview.context["matters"] == []
    assert overview.context["states"] is None
    assert overview.context["hosts"] is None
    assert overview.context["queue"] is None
    assert browser.get(listing(VM)).status_code == 403


def test_events_are_not_shown() -> None:
    assert Event not in admin.site._registry


@pytest.mark.parametrize("model", WRITTEN_BY_THE_PRODUCT, ids=lambda model: model.__name__)
def test_rows_of_the_product_cannot_be_added_changed_or_deleted(
    admin_client: Client, everything: object, model: type[Model]
) -> None:
    row = model._default_manager.order_by("pk").first()
    assert row is not None
    before = model._default_manager.filter(pk=row.pk).values().get()
    fields = {**{k: "" if v is None else v for k, v in before.items()}, "state": "TERMINATED", "status": "DONE"}
    assert admin_client.get(adding(model)).status_code == 403
    assert admin_client.post(adding(model), fields).status_code == 403
    assert admin_client.post(page(row), fields).status_code == 403
    delete = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_delete", args=[row.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    admin_client.post(listing(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert model._default_manager.filter(pk=row.pk).values().get() == before


@pytest.mark.parametrize("model", [VM, Operation, Transition, Host, Address], ids=lambda model: model.__name__)
def test_the_number_of_queries_does_not_grow_with_the_rows(
    admin_client: Client, make_vm: Callable[..., VM], model: type[Model]
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert admin_client.get(listing(model)).status_code == 200
        return len(captured)

    make_vm("first")
    queries()  # what is cached by a first request
    few = queries()
    for number in range(8):
        make_vm(f"more-{number}")
    assert queries() == few


def test_the_overview_takes_a_bounded_number_of_queries(admin_client: Client, make_vm: Callable[..., VM]) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(reverse("admin:index")).status_code == 200
        return len(captured)

    make_vm("first")
    queries()
    few = queries()
    for number in range(5):
        make_vm(f"more-{number}")
    assert queries() == few


@pytest.mark.parametrize("model", [VM, Operation, Host, Image, Invitation], ids=lambda model: model.__name__)
def test_a_rows_page_shows_its_badges_as_words(admin_client: Client, everything: object, model: type[Model]) -> None:
    row = model._default_manager.first()
    assert row is not None
    assert "(&#x27;" not in admin_client.get(page(row)).content.decode()
