"""Programs of the people of `project`: each with a token, every answer held against Google's own description."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from lifecycle.api import registry
from lifecycle.domain.states import State
from lifecycle.models import VM, Host, Project, User
from lifecycle.services import tokens
from tests import factories
from tests.api import discovery


@dataclass
class Program:
    """A client of the API. Each answer must fit the discovery document, and each refusal Google's shape."""

    secret: str = field(repr=False)
    project: str = "lab"
    client: Client = field(default_factory=Client)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, verb: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """The JSON that comes back; a path that begins with "/" is below the project."""
        where = f"projects/{self.project}{path}" if path.startswith("/") or not path else path
        response = self.client.generic(
            verb,
            f"/compute/v1/{where}",
            data=b"" if body is None else json.dumps(body).encode(),
            content_type="application/json",
            query_params=query or None,
            headers={"Authorization": f"Bearer {self.secret}"} if self.secret else {},
        )
        self.status, self.headers = response.status_code, dict(response.items())
        answer: dict[str, Any] = json.loads(response.content)
        self._check(verb, where, answer)
        return answer

    def _check(self, verb: str, where: str, answer: dict[str, Any]) -> None:
        if self.status != 200:
            error = answer["error"]
            assert error["code"] == self.status
            assert error["message"]
            assert all({"message", "domain", "reason"} <= set(item) for item in error["errors"])
            assert error["errors"]
            return
        found, _values, _verbs = registry.find(verb, where)
        assert found is not None
        response = discovery.method(found.id).get("response")
        assert not answer if response is None else discovery.violations(answer, response) == []


Programs = Callable[..., Program]


@pytest.fixture(autouse=True)
def _cache_table(db: None) -> None:
    """The cache is a table that no migration makes."""
    call_command("createcachetable", verbosity=0)


@pytest.fixture
def program(project: Project) -> Programs:
    """A program for a person; None has no token."""

    def make(user: User | None, *, may_write: bool = True, of: Project = project) -> Program:
        if user is None:
            return Program("", of.slug)
        return Program(tokens.create(user, "a program", [of], may_write=may_write)[1], of.slug)

    return make


@pytest.fixture
def api(program: Programs, owner: User) -> Program:
    """Olivia's program, which may write."""
    return program(owner)


@pytest.fixture
def vm(project: Project, host: Host, catalog: None, owner: User) -> VM:
    """`web-1`, RUNNING."""
    return factories.make_vm(project, "web-1", State.RUNNING, host=host, created_by=owner)


def body_of(name: str = "new-1", **more: Any) -> dict[str, Any]:
    """What gcloud sends for a new VM, but for what it leaves to defaults."""
    return {
        "name": name,
        "machineType": "zones/zone-a/machineTypes/tiny-1",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": "global/images/tiny"}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
        **more,
    }


def disks(**more: Any) -> list[dict[str, Any]]:
    """The boot disk of `body_of` with more said of it."""
    return [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": "global/images/tiny"}, **more}]


INSTANCES = "/zones/zone-a/instances"


@pytest.fixture
def counted_anew(settings: Settings) -> None:
    """Redis has counted nothing of this installation yet."""
    settings.INSTALLATION_ID = secrets.token_hex(4)
