"""Several calls in one multipart request, as google-api-python-client and gcloud send them."""

from typing import Any

import pytest
from django.test import Client
from googleapiclient.discovery import build
from googleapiclient.http import HttpMockSequence

from lifecycle.models import VM, User
from tests.api.conftest import INSTANCES, Program, Programs


def body_of(*calls: tuple[str, str, str], secret: str) -> tuple[bytes, str]:
    parts = [
        f"--frontier\r\nContent-Type: application/http\r\nContent-ID: <call-{n}>\r\n\r\n"
        f"{verb} {path} HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {secret}\r\n\r\n{body}\r\n"
        for n, (verb, path, body) in enumerate(calls)
    ]
    return "".join([*parts, "--frontier--\r\n"]).encode(), "multipart/mixed; boundary=frontier"


def test_each_call_has_its_own_answer(api: Program, vm: VM) -> None:
    there, nowhere = (f"/compute/v1/projects/lab{INSTANCES}/{name}" for name in ("web-1", "nothing"))
    body, kind = body_of(("GET", there, ""), ("POST", f"{there}/stop", "{}"), ("GET", nowhere, ""), secret=api.secret)
    response = Client().post("/batch/compute/v1", body, content_type=kind)
    text = response.content.decode()
    assert response.status_code == 200
    assert [line.split()[1] for line in text.splitlines() if line.startswith("HTTP/1.1")] == ["200", "200", "404"]
    assert [f"response-call-{n}" in text for n in range(3)] == [True] * 3
    assert VM.objects.get().state == "STOPPING"


def test_googles_client_reads_it(api: Program, vm: VM) -> None:
    """The client writes a batch, the product answers it, the client reads the answer."""
    sent: dict[str, Any] = {}
    answers: dict[str, Any] = {}

    class Recorder(HttpMockSequence):
        """Takes what the client sends to the product."""

        def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None, **_more: Any) -> Any:
            from httplib2 import Response

            sent["uri"] = uri
            response = Client().post(
                "/batch/compute/v1",
                body.encode() if isinstance(body, str) else body,
                content_type=headers["content-type"],
                headers={"Authorization": f"Bearer {api.secret}"},
            )
            return Response({"status": "200", "content-type": response["Content-Type"]}), response.content

    compute = build("compute", "v1", http=Recorder([]), static_discovery=True, cache_discovery=False)
    batch = compute.new_batch_http_request(callback=lambda key, answer, error: answers.update({key: answer or error}))
    batch.add(compute.instances().get(project="lab", zone="zone-a", instance="web-1"), request_id="one")
    batch.add(compute.instances().get(project="lab", zone="zone-a", instance="none"), request_id="two")
    batch.execute(http=Recorder([]))
    assert sent["uri"].endswith("/batch/compute/v1")
    assert answers["one"]["name"] == "web-1"
    assert answers["two"].status_code == 404


def test_every_call_is_authorised(program: Programs, viewer: User, vm: VM) -> None:
    path = f"/compute/v1/projects/lab{INSTANCES}/web-1"
    for secret, statuses in (("", ["401", "401"]), (program(viewer).secret, ["200", "403"])):
        body, kind = body_of(("GET", path, ""), ("DELETE", path, ""), secret=secret)
        text = Client().post("/batch/compute/v1", body, content_type=kind).content.decode()
        assert [line.split()[1] for line in text.splitlines() if line.startswith("HTTP/1.1")] == statuses


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/mixed; boundary=x"),
        (b"--x\r\n\r\n--x--", "text/plain"),
        (b"nothing of the kind", "multipart/mixed"),
        (b"--x\r\n\r\na\r\n" * 101 + b"--x--", "multipart/mixed; boundary=x"),
    ],
)
def test_what_is_no_batch_is_refused(body: bytes, kind: str, api: Program) -> None:
    assert Client().post("/batch/compute/v1", body, content_type=kind).status_code == 400
    assert Client().get("/batch/compute/v1").status_code == 405


@pytest.mark.parametrize("header", ["Content-ID: <\xff>", "Content-ID: <call-\x00>"])
def test_headers_that_are_no_text_are_taken_for_what_can_be_read(header: str, api: Program, vm: VM) -> None:
    inner = f"GET /compute/v1/projects/lab{INSTANCES}/web-1 HTTP/1.1\r\nAuthorization: Bearer {api.secret}\r\n\r\n"
    body = f"--x\r\nContent-Type: application/http\r\n{header}\r\n\r\n{inner}\r\n--x--\r\n".encode("latin-1")
    answer = Client().post("/batch/compute/v1", body, content_type="multipart/mixed; boundary=x")
    assert b"HTTP/1.1 200 OK" in answer.content


@pytest.mark.parametrize(
    "header", ["Authorization: Bearer \xff", "Authorization: Bearer vmp_\xe9", "Content-Type: \xff"]
)
def test_headers_of_a_call_that_are_no_text_open_nothing(header: str, db: None) -> None:
    inner = f"GET /compute/v1/projects/lab HTTP/1.1\r\n{header}\r\n\r\n"
    body = f"--x\r\nContent-Type: application/http\r\n\r\n{inner}\r\n--x--\r\n".encode("latin-1")
    answer = Client().post("/batch/compute/v1", body, content_type="multipart/mixed; boundary=x")
    assert b"HTTP/1.1 401 Unauthorized" in answer.content


def test_one_that_is_too_large_is_refused_in_googles_shape(api: Program) -> None:
    answer = Client().post("/batch/compute/v1", b"x" * (3 << 20), content_type="multipart/mixed; boundary=x")
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (413, "requestTooLarge")


def test_a_part_that_leads_elsewhere_is_refused(api: Program, vm: VM) -> None:
    parts = [
        ("GET", "/admin/", ""),
        ("BREW", "/compute/v1/projects/lab", ""),
        ("GET", "https://[/compute/v1/projects/lab", ""),
    ]
    body, kind = body_of(*parts, secret=api.secret)
    text = Client().post("/batch/compute/v1", body, content_type=kind).content.decode()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("HTTP/1.1")] == ["400"] * 3
