"""VMs with a history, made by the services, and the browsers of those who look at them."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db.models import Model
from django.test import Client

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Host, Invitation, Operation, Project, User
from lifecycle.services import operations, projects, vms
from lifecycle.services.transitions import move
from tests import factories


@pytest.fixture(autouse=True)
def _cache_table(db: None) -> None:
    """The cache is a table that no migration makes."""
    call_command("createcachetable", verbosity=0)


@pytest.fixture
def make_vm(project: Project, host: Host, catalog: None, owner: User) -> Callable[..., VM]:
    """A VM brought to `state` by the moves that the product makes; `fields` are set afterwards."""

    def make(name: str = "web-1", state: State = State.TERMINATED, **fields: object) -> VM:
        operation = vms.request_create(project, vms.VMRequest(name=name), user=owner)
        vm = operation.vm
        for source, target in ((State.PROVISIONING, State.STAGING), (State.STAGING, State.RUNNING)):
            move(vm.pk, Action.CREATE, source, target, asked_by=Asker.USER, operation=operation, user=owner, host=host)
        operations.plan_steps(operation.pk, ["reserve_capacity", "define_domain", "start_domain"])
        operations.close(operation.pk)
        if state is State.TERMINATED:
            move(vm.pk, Action.GUEST_SHUTDOWN, State.RUNNING, State.STOPPING, asked_by=Asker.GUEST)
            move(vm.pk, Action.GUEST_SHUTDOWN, State.STOPPING, State.TERMINATED, asked_by=Asker.GUEST)
        VM.objects.filter(pk=vm.pk).update(**fields)
        return factories.reload_vm(vm.pk)

    return make


@pytest.fixture
def make_staff(db: None) -> Callable[..., User]:
    """A member of the staff with the permissions named, as in `lifecycle.view_vm`."""

    def make(*permissions: str) -> User:
        user = factories.make_user("staff", is_staff=True)
        for permission in permissions:
            app, codename = permission.split(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        return user

    return make


@pytest.fixture
def as_user(client: Client) -> Callable[[User], Client]:
    """The test client, signed in."""

    def sign_in(user: User) -> Client:
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


@pytest.fixture
def admin_client(as_user: Callable[[User], Client], superuser: User) -> Client:
    """Ada's browser."""
    return as_user(superuser)


@pytest.fixture
def everything(make_vm: Callable[..., VM], project: Project, owner: User) -> dict[type[Model], Model]:
    """At least one row of every model that the admin shows."""
    vm = make_vm("web-1", State.RUNNING)
    make_vm("db-1")
    invitation, _token = projects.invite(project, "new@example.org", "viewer", user=owner)
    return {VM: vm, Operation: Operation.objects.filter(vm=vm).get(), Invitation: invitation}
