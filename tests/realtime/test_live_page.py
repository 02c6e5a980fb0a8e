"""The page itself: real pages and scripts in a real browser, whose websocket is disturbed."""

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import transaction
from playwright.sync_api import Browser, BrowserContext, Page, Route, WebSocketRoute, expect, sync_playwright

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Project
from lifecycle.realtime import consumers
from lifecycle.services import operations
from lifecycle.services.transitions import move
from tests import factories
from tests.e2e.conftest import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.e2e.gallery import PATIENCE_MS
from tests.realtime.servers import RedisServer, Web
from tests.realtime.tools import change

#: Notes every state that the badge ever showed, as the eye would see it.
EYE = """addEventListener("DOMContentLoaded", () => {
    window.seen = [];
    const look = () => {
        const state = document.querySelector("[data-vm] [data-field=state]")?.dataset.state;
        if (state && state !== window.seen.at(-1)) window.seen.push(state);
        requestAnimationFrame(look);
    };
    look();
});"""


@pytest.fixture(scope="module", autouse=True)
def _queries_beside_playwright() -> Iterator[None]:
    """Playwright's loop counts as running in this thread, where these tests' queries run too."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser, web: Web, cookie: str) -> Iterator[BrowserContext]:
    """The owner, signed in. What the page's scripts complain of fails the test."""
    name, _, value = cookie.partition("=")
    opened = browser.new_context(base_url=web.origin)
    opened.set_default_timeout(PATIENCE_MS)
    opened.add_cookies([{"name": name, "value": value, "url": web.origin}])
    opened.add_init_script(EYE)
    problems: list[str] = []
    opened.on("weberror", lambda error: problems.append(str(error.error)))
    yield opened
    opened.close()
    assert problems == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab."""
    return context.new_page()


@pytest.fixture
def vm(project: Project) -> VM:
    """A VM that runs."""
    return factories.make_vm(project, "web-1", State.RUNNING)


def badge(page: Page) -> Any:
    """The first badge of a VM."""
    return page.locator("[data-vm] [data-field=state]").first


def open_page(page: Page, path: str = "") -> None:
    """Open the project's VM list, or the page of one, and wait until it is live."""
    visit(page, path)
    expect_status(page, "connected")


def visit(page: Page, path: str = "") -> None:
    """Navigate."""
    page.goto(f"/projects/lab/vms/{path}")


def expect_status(page: Page, status: str) -> None:
    expect(page.locator("[data-live-status]")).to_have_attribute("data-live-status", status)


def seen(page: Page) -> list[str]:
    """What the badge of the tab in front showed so far, the picture on the screen included."""
    states: list[str] = page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(window.seen))))"
    )
    return states


def painted(page: Page, state: str) -> None:
    """Wait until the picture on the screen has it: what follows at once might never be seen."""
    page.wait_for_function("state => window.seen.at(-1) === state", arg=state)


def stop(vm: VM) -> None:
    """RUNNING -> STOPPING, as a request does it."""
    move(vm.id, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER)


def stopped(vm: VM) -> None:
    """STOPPING -> TERMINATED, as the worker does it."""
    move(vm.id, Action.STOP, State.STOPPING, State.TERMINATED, asked_by=Asker.USER)


def test_a_state_changes_in_every_tab_without_a_reload(context: BrowserContext, vm: VM) -> None:
    tabs = [context.new_page(), context.new_page()]
    for tab, path in zip(tabs, ["", "web-1/"], strict=True):
        open_page(tab, path)
        expect(tab.locator("[data-live-status]")).to_have_text("Live")
        tab.evaluate("window.sameDocument = true")
    stop(vm)
    for tab in tabs:
        expect(badge(tab)).to_have_attribute("data-state", "STOPPING")
        expect(badge(tab)).to_have_class(re.compile(r"state--stopping"))
        expect(badge(tab)).not_to_have_class(re.compile(r"state--running|is-stale"))
    expect(tabs[1].locator("#timeline li")).to_have_count(1)  # the fragment came too
    expect(tabs[1].locator("[data-announce]")).to_contain_text("web-1:")
    painted(tabs[1], "STOPPING")
    stopped(vm)
    for tab in tabs:
        expect(badge(tab)).to_have_attribute("data-state", "TERMINATED")
        assert tab.evaluate("window.sameDocument")
    assert seen(tabs[1]) == ["RUNNING", "STOPPING", "TERMINATED"]
    expect(tabs[0].locator("[data-vm] button[aria-label='Start web-1']")).to_be_visible()


def test_a_new_vm_appears_in_the_list_and_one_that_is_gone_leaves(page: Page, project: Project, vm: VM) -> None:
    open_page(page)
    new = factories.make_vm(project, "web-2", State.PROVISIONING)
    change(new)
    expect(page.locator(f"[data-vm='{new.id}'] [data-field=state]")).to_have_attribute("data-state", "PROVISIONING")
    move(new.id, Action.CREATE, State.PROVISIONING, None, asked_by=Asker.USER)
    expect(page.locator("[data-vm]")).to_have_count(1)


def test_the_page_of_a_vm_that_is_deleted_says_so(page: Page, vm: VM) -> None:
    open_page(page, "web-1/")
    move(vm.id, Action.DELETE, State.RUNNING, State.STOPPING, asked_by=Asker.USER)
    move(vm.id, Action.DELETE, State.STOPPING, None, asked_by=Asker.USER)
    expect(page.locator("main")).to_contain_text("web-1 was deleted")


def test_an_operation_moves_on_live(page: Page, vm: VM) -> None:
    operation = factories.make_operation(vm, Action.RESET, steps=("reset_domain", "look_at_domain"))
    operations.begin_step(operation, 0, undoing=False)
    open_page(page, "web-1/")
    bar = page.locator("#vm-operation progress")
    expect(bar).to_have_js_property("value", 0)
    operations.end_step(operation, 0, "done")
    operations.set_progress(operation, 50)
    change(vm)
    expect(bar).to_have_js_property("value", 50)
    expect(page.locator("#vm-operation .step").first).to_have_class(re.compile("step--done"))
    operations.close(operation.id)
    change(vm)
    expect(bar).to_have_count(0)


class Disturber:
    """Stands between the page and the server and does what networks do."""

    def __init__(self, page: Page, pass_on: Callable[["Disturber", str], None]) -> None:
        self.pass_on = pass_on
        self.asked: list[str] = []
        page.route_web_socket(re.compile(r"/ws/projects/"), self._route)

    def _route(self, route: WebSocketRoute) -> None:
        self.page = route
        server = route.connect_to_server()
        server.on_message(lambda message: self.pass_on(self, str(message)))
        route.on_message(lambda message: (self.asked.append(str(message)), server.send(message)))  # type: ignore[func-returns-value]


def test_messages_that_overtake_each_other_are_shown_in_their_order(page: Page, vm: VM) -> None:
    held: list[str] = []

    def swap(way: Disturber, message: str) -> None:
        if '"number":1,' in message:
            held.append(message)
        else:
            way.page.send(message)
            while held:
                way.page.send(held.pop())

    disturber = Disturber(page, swap)
    open_page(page)
    stop(vm)
    stopped(vm)
    expect(badge(page)).to_have_attribute("data-state", "TERMINATED")
    assert seen(page)[-1] == "TERMINATED"
    assert disturber.asked == []


def test_a_gap_is_asked_for_and_filled(page: Page, vm: VM) -> None:
    lost: list[str] = []

    def lose_the_first(way: Disturber, message: str) -> None:
        if '"type":"event"' in message and not lost:
            lost.append(message)
        else:
            way.page.send(message)

    disturber = Disturber(page, lose_the_first)
    open_page(page)
    began = time.monotonic()
    stop(vm)
    stopped(vm)
    expect(badge(page)).to_have_attribute("data-state", "TERMINATED")
    # Once; where the answer takes long, once more a second.
    assert set(disturber.asked) == {'{"type":"since","number":0}'}
    assert len(disturber.asked) <= 1 + time.monotonic() - began
    assert len(lost) == 1


def test_a_gap_that_stays_is_admitted(page: Page, vm: VM) -> None:
    """Whatever is asked, the first event never arrives: the page must not pretend to know."""
    disturber = Disturber(page, lambda way, text: None if '"number":1,' in text else way.page.send(text))
    open_page(page)
    stop(vm)
    stopped(vm)
    expect_status(page, "reconnecting")
    expect(badge(page)).to_have_class(re.compile("is-stale"))
    disturber.pass_on = lambda way, text: way.page.send(text)
    expect_status(page, "connected")
    expect(badge(page)).to_have_attribute("data-state", "TERMINATED")
    expect(badge(page)).not_to_have_class(re.compile("is-stale"))


def test_while_the_server_is_away_nothing_is_claimed_and_then_all_is_caught_up(page: Page, web: Web, vm: VM) -> None:
    open_page(page)
    web.stop()
    expect_status(page, "reconnecting")
    expect(page.locator("[data-live-status]")).to_have_text("Reconnecting…")
    expect(badge(page)).to_have_class(re.compile("is-stale"))
    stop(vm)
    web.start()
    expect_status(page, "connected")
    expect(badge(page)).to_have_attribute("data-state", "STOPPING")
    expect(badge(page)).not_to_have_class(re.compile("is-stale"))


def test_what_changed_before_the_connection_was_there_is_not_missed(page: Page, vm: VM) -> None:
    """Between the page's rows and its websocket: the page's number is older than the hello's."""

    def change_first(route: WebSocketRoute) -> None:
        if vm.state == State.RUNNING:
            stop(vm)
            vm.refresh_from_db()
        route.connect_to_server()

    page.route_web_socket(re.compile(r"/ws/projects/"), change_first)
    open_page(page)
    expect(badge(page)).to_have_attribute("data-state", "STOPPING")


@pytest.mark.parametrize("script", ["live.js", "page.js"])
def test_a_script_that_was_lost_on_its_way_is_asked_for_again(page: Page, vm: VM, script: str) -> None:
    page.route(f"**/{script}", lambda route: route.abort("failed"), times=2)
    open_page(page)


def test_who_missed_too_much_fetches_a_snapshot(
    page: Page, web: Web, project: Project, vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "REPLAY_LIMIT", 2)
    going = factories.make_vm(project, "going")
    open_page(page)
    web.stop()
    expect_status(page, "reconnecting")
    change(vm, 3)
    stop(vm)
    move(going.id, Action.DELETE, State.RUNNING, State.STOPPING, asked_by=Asker.USER)
    move(going.id, Action.DELETE, State.STOPPING, None, asked_by=Asker.USER)
    with page.expect_response("**/snapshot.json?vm=*") as answer:
        web.start()
    assert [found["name"] for found in answer.value.json()["vms"]] == ["web-1"]
    expect_status(page, "connected")
    expect(badge(page)).to_have_attribute("data-state", "STOPPING")
    expect(page.locator("[data-vm]")).to_have_count(1)


@pytest.mark.usefixtures("quick_heartbeat")
def test_without_redis_the_page_says_so_and_is_still_right(page: Page, vm: VM, redis: RedisServer) -> None:
    redis.kill()
    visit(page)
    expect_status(page, "off")
    expect(page.locator("[data-live-status]")).to_have_text("Live updates are off")
    stop(vm)
    expect(badge(page)).to_have_attribute("data-state", "STOPPING")
    expect(badge(page)).not_to_have_class(re.compile("is-stale"))
    redis.start()
    expect_status(page, "connected")


def test_a_fragment_that_comes_late_does_not_bring_the_past_back(page: Page, vm: VM) -> None:
    late: list[Route] = []
    page.route("**/fragment/**", lambda route: late.append(route), times=1)
    open_page(page, "web-1/")
    change(vm)  # asks for a fragment
    while not late:
        page.wait_for_timeout(50)
    old = late[0].fetch()  # rendered now: RUNNING
    stop(vm)
    expect(badge(page)).to_have_attribute("data-state", "STOPPING")
    painted(page, "STOPPING")
    late[0].fulfill(response=old)
    page.wait_for_timeout(600)
    stopped(vm)
    expect(badge(page)).to_have_attribute("data-state", "TERMINATED")
    assert seen(page) == ["RUNNING", "STOPPING", "TERMINATED"]


def test_a_fragment_that_was_lost_is_asked_for_again(page: Page, project: Project, vm: VM) -> None:
    page.route("**/fragment/**part=panel**", lambda route: route.abort("failed"), times=2)
    open_page(page, "web-1/")
    stop(vm)
    expect(page.locator("#timeline li")).to_have_count(1)

    open_page(page)
    page.route("**/vms/?**", lambda route: route.fulfill(status=503), times=1)
    change(factories.make_vm(project, "web-2"))
    expect(page.locator("[data-vm]")).to_have_count(2)


def test_a_fragment_that_knows_more_than_the_events_is_not_overwritten(page: Page, vm: VM) -> None:
    """The fragment was rendered after an event whose message is still on its way."""
    held: list[str] = []
    disturber = Disturber(page, lambda way, text: held.append(text) if '"number":2,' in text else way.page.send(text))
    open_page(page, "web-1/")
    with transaction.atomic():  # so that both are over when the first event asks for the fragment
        stop(vm)
        stopped(vm)
    expect(badge(page)).to_have_attribute("data-state", "TERMINATED")  # by that fragment
    while not held:
        page.wait_for_timeout(50)
    disturber.page.send(held[0])
    page.wait_for_timeout(400)
    assert seen(page)[-1] == "TERMINATED"
    assert seen(page).count("STOPPING") <= 1


def test_signing_out_elsewhere_ends_the_live_view(page: Page, vm: VM) -> None:
    open_page(page)
    for session in Session.objects.all():
        session.delete()
    expect_status(page, "off")
    expect(badge(page)).to_have_class(re.compile("is-stale"))


def test_many_changes_at_once_cost_one_list(page: Page, project: Project) -> None:
    """At once: the first event is held until the others have come, which wait for it in the page."""
    held: list[str] = []

    def hold_the_first(way: Disturber, message: str) -> None:
        if '"number":1,' in message and '"type":"event"' in message:
            held.append(message)
        else:
            way.page.send(message)
            if '"number":12,' in message and held:
                way.page.send(held.pop())

    Disturber(page, hold_the_first)
    vms = [factories.make_vm(project, f"many-{n:02}") for n in range(12)]
    open_page(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/vms/" in request.url else None)
    with transaction.atomic():
        for vm in vms:
            stop(vm)
    expect(page.locator("[data-state=STOPPING]")).to_have_count(12)
    while not asked:
        page.wait_for_timeout(50)
    page.wait_for_timeout(2000)
    assert 1 <= len(asked) <= 8  # not one for each row
