"""The VM list with 10, 1,000 and 10,000 VMs, against its bare query; and pages while 50 starts are queued."""

import http.client
import time
from collections.abc import Callable
from uuid import uuid4

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Image, MachineType, Operation, Project, Quota, User, Zone
from lifecycle.services import vms
from lifecycle.services.projects import create_project
from tests.bench.figures import Row, timed
from tests.bench.guests import act, create
from tests.stack import Stack, wait_until

SIZES = (10, 1_000, 10_000)


class Browser:
    """One keep-alive connection with a session, opened again when the server closed it for being idle."""

    def __init__(self, stack: Stack, cookie: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
        self.cookie = cookie

    def get(self, path: str) -> bytes:
        """The page's bytes; anything but 200 is an error."""
        try:
            answer, body = self._ask(path)
        except http.client.RemoteDisconnected:
            self.connection.close()
            answer, body = self._ask(path)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        return body

    def _ask(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = self.connection.getresponse()
        return answer, answer.read()


def fill(owner: User, count: int) -> Project:
    """A project with `count` VMs at rest: rows only, the list never asks a host."""
    project = create_project(f"list-{count}", owner=owner)
    zone, image, shape = Zone.objects.all()[0], Image.objects.all()[0], MachineType.objects.all()[0]
    rows = [
        VM(
            project=project, name=f"vm-{n:05}", zone=zone, image=image, machine_type=shape, state=State.TERMINATED,
            vcpus=1, memory_mib=128, mac=f"52:54:{count % 251:02x}:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
            id=uuid4(),
        )
        for n in range(count)
    ]  # fmt: skip
    VM.objects.bulk_create(rows, batch_size=500)
    return project


def lists(stack: Stack, user: User, cookie: str, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """A row a size: the page over HTTP, its queries, and the bare query of its first rows."""
    rows = []
    client = Client(headers={"host": f"127.0.0.1:{stack.port}"})
    client.force_login(user)
    for size in SIZES:
        say(f"pages: list with {size} VMs")
        project = fill(user, size)
        path = f"/projects/{project.slug}/vms/"
        browser = Browser(stack, cookie)  # the server closes connections that were idle while rows were made
        browser.get(path)
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(path)
            assert answer.status_code == 200, answer.status_code
        bare = VM.objects.live().filter(project=project).select_related("host", "zone", "machine_type")[:50]
        floor = [timed(lambda q=bare: list(q.all())) for _ in range(rounds)]  # type: ignore[misc]
        ours = [timed(lambda b=browser, p=path: b.get(p)) for _ in range(rounds)]  # type: ignore[misc]
        rows.append(Row(f"VM list page, {size:,} VMs", ours, floor, "bare query of 50 rows", f"{len(queries)} queries"))
    return rows


def under_load(
    stack: Stack, project: Project, user: User, cookie: str, count: int, say: Callable[[str], None]
) -> list[Row]:
    """The list page, idle and while `count` starts are queued and worked on."""
    Quota.objects.filter(project=project).update(vms=200, vcpus=200, memory_mib=200_000, disk_gib=2_000)
    path = f"/projects/{project.slug}/vms/"
    made = []
    for number in range(count):
        say(f"pages: preparing VM {number + 1} of {count}")
        vm, _ms = create(project, user, f"load-{number}")
        act(vm, Action.STOP, user)
        made.append(vm)
    browser = Browser(stack, cookie)
    idle = [timed(lambda: browser.get(path)) for _ in range(30)]
    say(f"pages: {count} starts queued")
    started = time.perf_counter()
    operations = [vms.request_action(vm, Action.START, user=user) for vm in made]
    open_ones = Operation.objects.filter(pk__in=[o.pk for o in operations]).exclude(status=Operation.Status.DONE)
    busy = []
    while open_ones.exists() and time.perf_counter() - started < 300:
        busy.append(timed(lambda: browser.get(path)))
        time.sleep(0.1)
    took = time.perf_counter() - started
    for vm in made:
        vms.request_action(vm, Action.DELETE, user=user)
    wait_until(lambda: not VM.objects.live().filter(pk__in=[v.pk for v in made]).exists(), 300, "the clean-up")
    note = f"all {count} RUNNING after {took:.1f} s"
    return [Row(f"VM list page while {count} starts are queued", busy, idle, "the same page, idle", note)]
