"""A page asks as many queries for many rows as for few."""

import pytest
from django.test import Client
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, ConsoleSession, Host, Operation, Project, Transition, User
from lifecycle.services import observations, projects
from tests import factories
from tests.web.conftest import finished
from tests.web.query_counts import counted

HTMX = {"HX-Request": "true", "HX-Target": "vms"}

PAGES = {
    "projects": ("/projects/", {}),
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
    "vm charts": ("/projects/lab/vms/vm-0/charts/?span=day", {}),
    "vm charts, a month": ("/projects/lab/vms/vm-0/charts/?span=month", {}),
    "project charts": ("/projects/lab/charts/?span=day", {}),
    "host charts": ("/operators/hosts/host-1/charts/?span=day", {}),
    "operations": ("/projects/lab/operations/", {}),
    "members": ("/projects/lab/members/", {}),
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
        factories.make_operation(vm, Action.RESET, steps=("reset_domain",), user=owner)
        factories.add_member(project, factories.make_user(), "viewer")  # type: ignore[arg-type]
        projects.invite(project, f"somebody-{number}@example.org", "viewer", user=owner)
        factories.make_project(owner=owner)
        factories.make_host()
    return size


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


@pytest.mark.parametrize("filled", [1, 7], indirect=True, ids=["few rows", "many rows"])
def test_pages_ask_a_constant_number_of_queries(filled: int, as_owner: Client) -> None:
    as_owner.get("/projects/")  # the session and the content types are warm
    for name, (path, headers) in PAGES.items():
        with counted(name):
            response = as_owner.get(path, headers=headers)
        assert response.status_code == 200
