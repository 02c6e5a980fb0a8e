"""The consoles' pages in a real browser, through web and gateway, on a real machine that runs its firmware."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.urls import path, re_path
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pytest_django import Settings

from lifecycle.models import VM, ConsoleSession, User
from lifecycle.realtime.origins import OriginCheck
from lifecycle.realtime.relay import Relay
from lifecycle.realtime.routing import nowhere
from lifecycle.services import observations
from lifecycle.telemetry.consoles import gateway as gateways
from tests.e2e.conftest import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.realtime.servers import cookie_of, free_port
from tests.telemetry.test_gateway import Served
from tests.telemetry.test_gateway_host import conn, machine, vm

__all__ = ["conn", "machine", "vm"]
pytestmark = [pytest.mark.libvirt, pytest.mark.e2e, pytest.mark.slow]

WHERE = "ws/consoles/<uuid:vm_id>/<slug:kind>/"
SECONDS = 90_000
SERIAL = "/projects/lab/vms/web-1/console/"
SCREEN = "/projects/lab/vms/web-1/screen/"
#: How many colours the picture has, a few of its pixels looked at.
COLOURS = """() => new Set(new Uint32Array(document.querySelector("[data-console-screen] canvas").getContext("2d")
    .getImageData(0, 0, 600, 300).data.buffer)).size"""


@pytest.fixture(scope="module", autouse=True)
def _queries_beside_playwright() -> Iterator[None]:
    """Playwright's loop counts as running in this thread, where these tests' queries run too."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    expect.set_options(timeout=SECONDS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


def gateway_on(port: int, own: list[str]) -> Served:
    consoles: Any = URLRouter([path(WHERE, gateways.Gateway())])  # type: ignore[arg-type]
    return Served(ProtocolTypeRouter({"websocket": OriginCheck(SessionMiddlewareStack(consoles), own)}), port)


@pytest.fixture
def sites(transactional_db: None, settings: Settings) -> Iterator[tuple[Served, int]]:
    """The web process with pages and relay, and the port on which it looks for a gateway."""
    settings.WHITENOISE_USE_FINDERS = settings.WHITENOISE_AUTOREFRESH = True
    call_command("createcachetable", verbosity=0)
    port, behind = free_port(), free_port()
    routes: Any = URLRouter([path(WHERE, Relay(f"127.0.0.1:{behind}")), re_path("", nowhere)])  # type: ignore[arg-type]
    web = ProtocolTypeRouter(
        {"http": get_asgi_application(), "websocket": OriginCheck(routes, [f"http://127.0.0.1:{port}"])}
    )
    with Served(web, port) as served:
        yield served, behind


@pytest.fixture
def context(browser: Browser, sites: tuple[Served, int], owner: User) -> Iterator[BrowserContext]:
    """The owner's browser. A script that fails, or a rule of the content policy that is broken, fails the test."""
    origin = f"http://127.0.0.1:{sites[0].port}"
    name, _, value = cookie_of(owner).partition("=")
    opened = browser.new_context(base_url=origin, viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(SECONDS)
    opened.add_cookies([{"name": name, "value": value, "url": origin}])
    problems: list[str] = []
    opened.on("weberror", lambda error: problems.append(str(error.error)))
    opened.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
    yield opened
    opened.close()
    assert problems == []


@pytest.fixture
def gateway(sites: tuple[Served, int]) -> Callable[[], Served]:
    """Makes gateways where the web process looks for one."""
    return lambda: gateway_on(sites[1], [f"http://127.0.0.1:{sites[0].port}"])


def is_said(page: Page, state: str) -> None:
    expect(page.locator("[data-console-status]")).to_have_attribute("data-state", state, timeout=SECONDS)


def sees(page: Page, text: str) -> None:
    expect(page.locator(".xterm-rows")).to_contain_text(re.compile(text), timeout=SECONDS)


def test_two_pages_show_a_serial_console_find_in_it_and_come_back_to_it(
    context: BrowserContext, gateway: Callable[[], Served], machine: libvirt.virDomain, vm: VM
) -> None:
    first, second = context.new_page(), context.new_page()
    with gateway():
        for page in (first, second):
            page.goto(SERIAL)
            is_said(page, "connected")
        machine.reset()
        for page in (first, second):
            sees(page, "SeaBIOS")
        expect(first.locator("[data-console-viewers]")).to_contain_text("2")
        first.locator("#console-find").fill("seabios")
        first.keyboard.press("Enter")
        expect(first.locator("#console-find")).to_have_attribute("aria-invalid", "false")
        first.locator("#console-find").fill("not printed")
        first.keyboard.press("Enter")
        expect(first.locator("#console-find")).to_have_attribute("aria-invalid", "true")
        first.locator(".xterm-helper-textarea").focus()
        first.keyboard.press("Control+Shift+F6")
        expect(first.locator("[data-console-reconnect]")).to_be_focused()
    is_said(first, "reconnecting")
    with gateway():
        is_said(first, "connected")
        machine.reset()
        sees(first, "SeaBIOS")


def test_a_screens_picture_changes_and_is_saved(
    context: BrowserContext, gateway: Callable[[], Served], machine: libvirt.virDomain, vm: VM
) -> None:
    page = context.new_page()
    with gateway():
        page.goto(SCREEN)
        is_said(page, "connected")
        page.wait_for_function(f"({COLOURS})() > 1", timeout=SECONDS)
        canvas = page.locator("[data-console-screen] canvas")
        before = canvas.evaluate("canvas => canvas.toDataURL()")
        page.locator("[data-console-cad]").click()  # the firmware starts over, and clears its screen first
        changed = "before => document.querySelector('[data-console-screen] canvas').toDataURL() !== before"
        page.wait_for_function(changed, arg=before, timeout=SECONDS)
        with page.expect_download() as download:
            page.locator("[data-console-shot]").click()
        assert download.value.path().read_bytes().startswith(b"\x89PNG")
        page.locator("[data-console-reconnect]").click()
        is_said(page, "connected")
        machine.destroy()
        is_said(page, "off")


def test_a_cut_console_says_so_and_stays_closed(
    context: BrowserContext, gateway: Callable[[], Served], vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "LOOK_SECONDS", 0.2)
    observations.append_serial(vm.pk, "said before\r\n", read_from=0, read_to=13)
    page = context.new_page()
    with gateway():
        page.goto(SERIAL)
        sees(page, "said before")
        page.locator("#console-sessions form button").first.click()
        is_said(page, "cut")
        assert ConsoleSession.objects.get().cut_by is not None
        page.locator("[data-console-reconnect]").click()
        sees(page, "said before")
