"""The OpenAPI document: complete, and true under requests that nobody thought of."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lifecycle.api import methods, openapi, registry, summaries
from lifecycle.models import VM, Project, User
from lifecycle.services import tokens
from tests.api import discovery

methods.load()
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SCHEMA = schemathesis.openapi.from_dict(openapi.document("http://testserver"))
OPERATIONS = [(f"{method.verb} {method.path}", method) for method in registry.METHODS.values()]
#: Names that exist, so that what is generated gets beyond the address.
THERE = {
    "project": "lab", "zone": "zone-a", "region": "zone", "instance": "web-1", "image": "tiny", "family": "tiny",
    "machineType": "tiny-1", "disk": "web-1", "diskType": "pd-standard", "network": "default",
    "subnetwork": "default", "firewall": "default-allow-internal",
}  # fmt: skip


def test_every_method_stands_in_it_once_with_types_that_google_knows() -> None:
    document = openapi.document("http://testserver")
    names = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert sorted(names) == sorted(f"compute.{name}" for name in registry.METHODS)


@pytest.mark.parametrize("method", list(registry.METHODS.values()), ids=lambda method: method.id)
def test_each_method_is_where_google_has_it(method: registry.Method) -> None:
    theirs = discovery.method(method.id)
    path = theirs["path"].replace("{resource}", "{instance}")
    assert (method.verb, method.path) == (theirs["httpMethod"], path)
    assert set(method.query) - {"returnPartialSuccess"} <= set(theirs["parameters"])


@pytest.mark.parametrize("method", [m for _label, m in OPERATIONS], ids=[m.id for _label, m in OPERATIONS])
def test_nothing_that_is_generated_breaks_it(method: registry.Method, vm: VM, owner: User, project: Project) -> None:
    secret = tokens.create(owner, "fuzz", [project], may_write=True)[1]
    strategy = SCHEMA[openapi.ROOT + method.path][method.verb].as_strategy()
    client = Client()

    @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=strategy, known=st.booleans())
    def run(case: Any, known: bool) -> None:
        values = {name: THERE.get(name, "x") if known else str(value) for name, value in case.path_parameters.items()}
        path = openapi.ROOT + method.path.format(**{name: quote(value, safe="") for name, value in values.items()})
        body = b"" if isinstance(case.body, schemathesis.core.NotSet) else json.dumps(case.body).encode()
        answer = client.generic(
            method.verb,
            path,
            data=body,
            content_type="application/json",
            query_params={name: str(value) for name, value in (case.query or {}).items()},
            headers={"Authorization": f"Bearer {secret}"},
        )
        case.validate_response(_as_read(answer, path), checks=CHECKS)

    run()


def _as_read(answer: Any, path: str) -> Response:
    """Django's answer as the response that schemathesis reads."""
    return Response(
        status_code=answer.status_code,
        headers={name: [value] for name, value in answer.items()},
        content=answer.content,
        request=requests.Request("GET", f"http://testserver{path}").prepare(),
        elapsed=0.0,
        verify=False,
    )


def test_the_page_and_the_document_need_nothing_from_elsewhere(db: None) -> None:
    page = Client().get("/docs/api")
    assert page.status_code == 200
    text = page.content.decode()
    assert all(name in text for name in registry.METHODS)
    assert 'src="http' not in text
    assert "default-src 'self'" in page["Content-Security-Policy"]
    document = Client().get("/docs/api/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert Client().post("/docs/api").status_code == 405


def test_what_methods_do_is_said_in_the_readers_language(db: None) -> None:
    """The first lines of the handlers' docstrings are collected by hand: none is missing, none is left over."""
    assert sorted(summaries.SUMMARIES) == sorted({method.summary for method in registry.METHODS.values()})
    text = Client().get("/docs/api", headers={"Accept-Language": "fr"}).content.decode()
    assert "Enregistrer la mémoire d’une VM et l’éteindre." in text
    assert "Combien une page peut en contenir" in text
    assert "Save a VM" not in text
    assert "POT-Creation-Date" not in text
