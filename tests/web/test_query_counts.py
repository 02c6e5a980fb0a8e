"""A page asks as many queries for many rows as for few."""

from datetime import time

import pytest
from django.test import Client
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import (
    VM,
    Budget,
    BudgetAlert,
    ConfigChange,
    ConsoleSession,
    Host,
    IdleHint,
    ImageImport,
    LibvirtEvent,
    Notification,
    Operation,
    Project,
    ScheduleRun,
    Transition,
    User,
    Webhook,
)
from lifecycle.services import keys, observations, projects, saved_views, schedules, vm_details, webhooks
from tests import factories
from tests.web.conftest import finished
from tests.web.query_counts import counted

HTMX = {"HX-Request": "true", "HX-Target": "vms"}

PAGES = {
    "first page": ("/", {}),
    "projects": ("/projects/", {}),
    "search": ("/search/?q=vm&in=lab", {}),
    "audit log": ("/projects/lab/audit/", {}),
    "notifications": ("/notifications/", {}),
    "labels and notes": ("/projects/lab/vms/vm-0/edit/", {}),
    "vm list": ("/projects/lab/vms/", {}),
    "vm list, searched": ("/projects/lab/vms/?q=vm&state=RUNNING", {}),
    "vm list, for htmx": ("/projects/lab/vms/", HTMX),
    "vm row, for htmx": ("/projects/lab/vms/vm-0/fragment/?part=row", HTMX),
    "vm form": ("/projects/lab/vms/new/", {}),
    "vm page": ("/projects/lab/vms/vm-0/", {}),
    "vm head, for htmx": ("/projects/lab/vms/vm-0/fragment/?part=head", HTMX),
    "vm panel, for htmx": ("/projects/lab/vms/vm-0/fragment/?part=panel", HTMX),
    "vm serial, for htmx": ("/projects/lab/vms/vm-0/fragment/?part=serial", HTMX),
    "serial console": ("/projects/lab/vms/vm-0/console/?q=line", {}),
    "screen": ("/projects/lab/vms/vm-0/screen/", {}),
    "console sessions": ("/projects/lab/vms/vm-0/console/sessions/", {}),
    "confirmation": ("/projects/lab/vms/vm-0/confirm/delete/", {}),
    "vm timeline": ("/projects/lab/vms/vm-0/timeline/", {}),
    "post-mortem": ("/projects/lab/vms/vm-0/post-mortem/?from=2000-01-01T00:00&to=2000-01-02T00:00", {}),
    "vm charts": ("/projects/lab/vms/vm-0/charts/?span=day", {}),
    "vm charts, a month": ("/projects/lab/vms/vm-0/charts/?span=month", {}),
    "project charts": ("/projects/lab/charts/?span=day", {}),
    "host charts": ("/operators/hosts/host-1/charts/?span=day", {}),
    "operations": ("/projects/lab/operations/", {}),
    "images": ("/projects/lab/images/", {}),
    "images, for htmx": ("/projects/lab/images/", HTMX),
    "image form": ("/projects/lab/images/new/", {}),
    "public images": ("/images/", {}),
    "keys": ("/account/keys/", {}),
    "project keys": ("/projects/lab/keys/", {}),
    "webhooks": ("/projects/lab/webhooks/", {}),
    "webhook": ("/projects/lab/webhooks/1/", {}),
    "members": ("/projects/lab/members/", {}),
    "billing": ("/projects/lab/billing/", {}),
    "billing preview": ("/projects/lab/billing/preview/", {}),
    "costs by label": ("/projects/lab/billing/labels/?key=env", {}),
    "budgets": ("/projects/lab/billing/budgets/", {}),
    "invoices": ("/projects/lab/billing/invoices/", {}),
    "invoice": ("/projects/lab/billing/invoices/1/", {}),
    "invoice line": ("/projects/lab/billing/invoices/1/lines/1/", {}),
    "vm schedules": ("/projects/lab/vms/vm-0/schedules/", {}),
    "vm costs": ("/projects/lab/vms/vm-0/costs/", {}),
    "snapshot": ("/projects/lab/snapshot.json", {}),
    "operators": ("/operators/", {}),
}


@pytest.fixture
def filled(request: pytest.FixtureRequest, project: Project, host: Host, catalog: None, owner: User) -> int:
    """A project with as many of everything as the test's parameter says."""
    size: int = request.param
    User.objects.filter(pk=owner.pk).update(is_staff=True)
    for number in range(size):
        vm = factories.make_vm(project, f"vm-{number}", State.RUNNING, host=host, created_by=owner)
        for _ in range(size):
            finished(vm, owner)
            observations.append_serial(vm.pk, "line\n", read_from=0, read_to=0)
            for closed in (None, timezone.now()):
                ending = "left" if closed else ""
                ConsoleSession.objects.create(
                    vm=vm, project=project, user=owner, kind="serial", closed_at=closed, ending=ending
                )
        _transitions(vm, owner, size)
        factories.make_draft_invoice(vm, f"2026-{number + 1:02}")
        IdleHint.objects.create(vm=vm, since=timezone.now(), cpu_percent=1, network=9)
        for hour in range(size):
            wish = schedules.Wish("stop", time(hour), (number,), "UTC")
            row = schedules.add(vm, wish, user=owner)
            ScheduleRun.objects.create(vm=vm, schedule=row, action="stop", due_at=row.next_at, outcome="asked")
        budget = Budget.objects.create(project=project, name=f"budget {number}", amount=10, thresholds=[50])
        for percent in range(size):
            values = {"month": "2026-02", "about": "threshold", "amount": 10, "spent": 5, "currency": "EUR"}
            BudgetAlert.objects.create(budget=budget, percent=percent, **values)
        factories.make_operation(vm, Action.RESET, steps=("reset_domain",), user=owner)
        factories.add_member(project, factories.make_user(), "viewer")  # type: ignore[arg-type]
        projects.invite(project, f"somebody-{number}@example.org", "viewer", user=owner)
        factories.make_project(owner=owner)
        Notification.objects.create(user=owner, kind="invited", text="x")
        vm_details.set_labels(vm, {"env": "prod", "number": str(number)}, user=owner)
        saved_views.save(project, f"view {number}", "q=web", user=owner)
        keys.add_user_key(owner, factories.make_public_key())
        keys.add_project_key(project, factories.make_public_key(), user=owner)
        vm.key_people.add(owner)
        webhooks.send_test(project, _hook(project, owner), user=owner)
        factories.make_image(project=project, created_by=owner)
        factories.make_image()
        for place in (project, None):
            ImageImport.objects.create(project=place, user=owner, name=f"image-{number}", status="failed")
        factories.make_host()
    return size


def _hook(project: Project, owner: User) -> int:
    """The first webhook's number; another is made each time."""
    webhooks.create(project, "https://example.org/", ["repair.opened"], user=owner)
    return Webhook.objects.order_by("pk")[0].pk


def _transitions(vm: VM, user: User, size: int) -> None:
    operation = Operation.objects.filter(vm=vm).first()
    for number in range(size):
        Transition.objects.create(
            vm=vm,
            number=number,
            from_state="RUNNING",
            to_state="STOPPING",
            action=Action.STOP,
            asked_by=Asker.USER,
            user=user,
            operation=operation,
            occurred_at=timezone.now(),
        )
        LibvirtEvent.objects.create(vm=vm, host=vm.host, kind="stopped", occurred_at=timezone.now())
        ConfigChange.objects.create(vm=vm, asked_by=Asker.USER, user=user, changes={"vcpus": [1, 2]})


@pytest.mark.parametrize("filled", [1, 7], indirect=True, ids=["few rows", "many rows"])
def test_pages_ask_a_constant_number_of_queries(filled: int, as_owner: Client) -> None:
    as_owner.get("/projects/")  # the session and the content types are warm
    for name, (path, headers) in PAGES.items():
        with counted(name):
            response = as_owner.get(path, headers=headers)
        assert response.status_code == 200
