"""Browsers of the people of `project`, and VMs to look at."""

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.test import Client

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Host, Project, User
from tests import factories

Browser = Callable[[User | None], Client]


@pytest.fixture(autouse=True)
def _cache_table(db: None) -> None:
    """The cache is a table that no migration makes; rate limits count in it."""
    call_command("createcachetable", verbosity=0)


@pytest.fixture
def browser() -> Browser:
    """A browser of its own for each person; None is nobody."""

    def open_for(user: User | None) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return open_for


@pytest.fixture
def as_owner(browser: Browser, owner: User) -> Client:
    """Olivia's browser."""
    return browser(owner)


@pytest.fixture
def vm(project: Project, host: Host, catalog: None, owner: User) -> VM:
    """`web-1`, RUNNING, with a finished create."""
    made = factories.make_vm(project, "web-1", State.RUNNING, host=host, created_by=owner)
    finished(made, owner)
    return made


def finished(vm: VM, user: User) -> None:
    """Give `vm` a create that is done."""
    steps = ("reserve_capacity", "start_domain")
    operation = factories.make_operation(vm, Action.CREATE, steps=steps, user=user)
    type(operation).objects.filter(pk=operation.pk).update(
        status="DONE", progress=100, end_time=operation.insert_time, start_time=operation.insert_time
    )
