"""People who use the installation: they create, start, stop, cancel and delete VMs, twice now and then, and never wait.

Through the services and through the web. A refusal is an answer; what is written down as wrong is a promise that was
broken: a repeated request that opened a second operation, a page that fails while the database answers.
"""

import http.client
import random
import threading
import time
import uuid
from collections import Counter
from urllib.parse import urlencode

from django.conf import settings
from django.db import DatabaseError, connection
from django.test import Client

from lifecycle.domain.errors import DomainError
from lifecycle.domain.transitions import Action, allowed_actions, may_cancel
from lifecycle.models import VM, Host, Operation, Project, User
from lifecycle.services import operations, operators
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests.chaos.site import IMAGE, MACHINE_TYPE, PROJECT, Site
from tests.chaos.timeline import Timeline

#: How many VMs people want to have, about.
VMS = 9
#: One operation in so many is not waited for: a stop or a delete takes it over, or it is cancelled. The others end
#: by themselves, however slow the machine is; else no VM would ever run.
IMPATIENCE = 4
#: How often it is an operator, who lets a host that was kept out for its many repairs have new VMs again.
OPERATORS_TURN = 0.01
#: Of what a person wants, the rarer by their weights.
WEIGHTS = {
    Action.START: 6.0,
    Action.RESUME: 6.0,
    Action.SUSPEND: 2.0,
    Action.STOP: 3.0,
    Action.RESET: 2.0,
    Action.DELETE: 0.7,
}


class Load:
    """Some people, each a thread."""

    def __init__(self, site: Site, timeline: Timeline, seed: int, *, people: int = 3, pause: float = 0.5) -> None:
        self._site, self._timeline, self._pause = site, timeline, pause
        self._ending = threading.Event()
        self.answers: Counter[str] = Counter()
        self._number = 0
        self._lock = threading.Lock()
        self._user = User.objects.get(username="admin")
        self._cookies = _signed_in(self._user)
        chances = [random.Random(f"{seed}-{n}") for n in range(people)]  # reproducible, not secret
        self._threads = [threading.Thread(target=self._live, args=(c,), daemon=True) for c in chances]

    def begin(self) -> None:
        """They come."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """They go; what they asked for goes on."""
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def _live(self, chance: random.Random) -> None:
        while not self._ending.wait(chance.expovariate(1 / self._pause)):
            try:
                answer = self._act(chance)
            except DomainError as error:
                answer = error.code
            except DatabaseError as error:
                answer = f"database: {type(error).__name__}"
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                answer = f"web: {type(error).__name__}"
            except Exception as error:
                answer = f"unexpected: {type(error).__name__}"
                self._timeline.add("wrong", "request", "load", text=f"{type(error).__name__}: {error}"[:300])
            self.answers[answer] += 1
        connection.close()

    def _act(self, chance: random.Random) -> str:
        if chance.random() < OPERATORS_TURN:
            for host in Host.objects.filter(kept_out_until__isnull=False):
                operators.set_schedulable(host, True)
                self._timeline.add("request", "let in", host.name)
        vms = list(VM.objects.live().filter(project__slug=PROJECT))
        if len(vms) < VMS and (not vms or chance.random() < 0.3):
            return self._create(chance)
        vm = chance.choice(vms)
        running = operations.current(vm.pk)
        if running is not None and running.pk.int % IMPATIENCE:
            return "waits"
        if running is not None and may_cancel(Action(running.action)) and chance.random() < 0.2:
            operations.cancel(running, self._user)
            self._timeline.add("request", "cancel", vm.name)
            return "cancelled"
        allowed = allowed_actions(vm.lifecycle_state, Action(running.action) if running else None)
        wanted = [action for action in allowed if action in WEIGHTS]
        if not wanted:
            return "nothing possible"
        action = chance.choices(wanted, [WEIGHTS[a] * (0.3 if running else 1.0) for a in wanted])[0]
        self._timeline.add("request", action, vm.name)
        return self._by_web(vm, action) if chance.random() < 0.3 else self._by_service(vm, action, chance)

    def _create(self, chance: random.Random) -> str:
        with self._lock:
            self._number += 1
            name = f"vm-{self._number}"
        request = VMRequest(
            name,
            machine_type=MACHINE_TYPE,
            image=IMAGE,
            disk_gib=1,
            automatic_restart=chance.random() < 0.8,
            stop_grace_seconds=chance.choice((0, 1, 3, 6)),
        )
        project, request_id = Project.objects.get(slug=PROJECT), uuid.uuid4()
        self._timeline.add("request", Action.CREATE, name)
        made = request_create(project, request, user=self._user, request_id=request_id)
        if chance.random() < 0.3:
            self._same(made, request_create(project, request, user=self._user, request_id=request_id))
        return "accepted"

    def _by_service(self, vm: VM, action: Action, chance: random.Random) -> str:
        request_id = uuid.uuid4()
        made = request_action(vm, action, user=self._user, request_id=request_id)
        if chance.random() < 0.3:
            self._same(made, request_action(vm, action, user=self._user, request_id=request_id))
        return "accepted"

    def _same(self, made: Operation, again: Operation) -> None:
        if made.pk != again.pk:
            text = f"{made.pk} and {again.pk} for one request"
            self._timeline.add("wrong", "request-id", made.target_name, text=text)

    def _by_web(self, vm: VM, action: Action) -> str:
        path = f"/projects/{PROJECT}/vms/{vm.name}/{action}/"
        site = http.client.HTTPConnection("127.0.0.1", self._site.port, timeout=30)
        headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        token = self._cookies[settings.CSRF_COOKIE_NAME]
        body = urlencode({"csrfmiddlewaretoken": token, "request_id": uuid.uuid4()})
        try:
            site.request("POST", path, body, headers)
            status = site.getresponse().status
        finally:
            site.close()
        return "accepted by the web" if status == 303 else f"web: {status}"


def _signed_in(user: User) -> dict[str, str]:
    """The cookies of a browser that has signed in."""
    client = Client()
    client.force_login(user)
    token = uuid.uuid4().hex
    return {
        settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value,
        settings.CSRF_COOKIE_NAME: token,
    }


def wait_for_work(seconds: float = 60.0) -> None:
    """Until the first VMs are there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not VM.objects.live().filter(state="RUNNING").exists():
        time.sleep(0.2)
