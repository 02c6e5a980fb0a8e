"""Both consoles against a real guest, in a real browser."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import visit
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(600)]

VM = "/projects/default/vms/console-1/"
BOOT_MS = 120_000
PASSWORD_SCRIPT = "#!/bin/sh\necho root:console | chpasswd\n"


@pytest.fixture(scope="module")
def guest(stack: Stack, signed_in: BrowserContext) -> str:
    """A running VM whose root has a password."""
    if "gateway" not in stack.running:
        stack.start("gateway")
    page = signed_in.new_page()
    visit(page, "/projects/default/vms/new/")
    page.fill("input[name=name]", "console-1")
    more = page.locator("textarea[name=startup_script]")
    if not more.is_visible():
        page.locator("details", has=more).first.locator("summary").click()
    more.fill(PASSWORD_SCRIPT)
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("#vm-head [data-field=state]")).to_have_text("RUNNING", timeout=BOOT_MS)
    page.close()
    return VM


@pytest.fixture
def open_page(signed_in: BrowserContext) -> Iterator[Callable[[str], Page]]:
    """Opens pages of which no script may fail and no rule of the content policy may be broken."""
    problems: list[str] = []
    pages: list[Page] = []

    def open_(path: str) -> Page:
        page = signed_in.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
        visit(page, path)
        pages.append(page)
        return page

    yield open_
    for page in pages:
        page.close()
    assert problems == []


def status(page: Page) -> str:
    return page.locator("[data-console-status]").get_attribute("data-state") or ""


def connected(page: Page) -> None:
    expect(page.locator("[data-console-status]")).to_have_attribute("data-state", "connected", timeout=BOOT_MS)


def shown(page: Page) -> str:
    """What the terminal shows, as a screen reader gets it."""
    return "\n".join(page.locator(".xterm-rows > div").all_inner_texts())


def sees(page: Page, text: str, seconds: float = 60) -> None:
    """Wait until the terminal shows it."""
    expect(page.locator(".xterm-rows")).to_contain_text(re.compile(text), timeout=seconds * 1000)


def type_line(page: Page, line: str) -> None:
    page.locator(".xterm-helper-textarea").focus()
    page.keyboard.type(line)
    page.keyboard.press("Enter")


def signed_into_the_guest(page: Page) -> None:
    """Its shell is there: the tiny guest asks for a login once, and for nothing the next time."""
    connected(page)
    sees(page, r"login:|#\s*$", 240)
    if "login:" in shown(page):
        type_line(page, "root")
        sees(page, "Password:")
        type_line(page, "console")
    sees(page, r"[#~]\s*$")


def test_a_command_is_typed_and_two_viewers_see_its_output(guest: str, open_page: Callable[[str], Page]) -> None:
    first = open_page(f"{guest}console/")
    signed_into_the_guest(first)
    second = open_page(f"{guest}console/")
    connected(second)
    type_line(first, "echo sum-$((40 + 2))")
    sees(first, "sum-42")
    sees(second, "sum-42")
    # Nobody was thrown out, and who came later types too.
    type_line(second, "echo product-$((6 * 7))")
    sees(first, "product-42")
    expect(first.locator("[data-console-viewers]")).to_contain_text("2")
    assert status(first) == status(second) == "connected"
    second.locator("#console-find").fill("sum-42")
    second.keyboard.press("Enter")
    expect(second.locator("#console-find")).to_have_attribute("aria-invalid", "false")


def test_a_lost_gateway_is_found_again_with_what_was_printed_before(
    stack: Stack, guest: str, open_page: Callable[[str], Page]
) -> None:
    page = open_page(f"{guest}console/")
    signed_into_the_guest(page)
    type_line(page, "echo before-$((1 + 1))")
    sees(page, "before-2")
    stack.end("gateway", kill=True)
    expect(page.locator("[data-console-status]")).to_have_attribute("data-state", "reconnecting", timeout=15_000)
    stack.start("gateway")
    connected(page)
    sees(page, "before-2")
    type_line(page, "echo after-$((1 + 2))")
    sees(page, "after-3")


def test_a_cut_console_is_told_and_stays_closed(guest: str, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"{guest}console/")
    connected(page)
    expect(page.locator("#console-sessions .tag--good")).to_have_count(1, timeout=20_000)
    page.locator("#console-sessions form button").first.click()
    expect(page.locator("[data-console-status]")).to_have_attribute("data-state", "cut", timeout=20_000)
    page.locator("[data-console-reconnect]").click()
    connected(page)


def test_the_screens_pixels_change_with_what_is_typed(guest: str, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"{guest}screen/")
    connected(page)
    canvas = page.locator("[data-console-screen] canvas")
    expect(canvas).to_be_visible()
    pixels = "canvas => canvas.toDataURL()"
    page.wait_for_function(
        "() => new Set(document.querySelector('[data-console-screen] canvas').getContext('2d')"
        ".getImageData(0, 0, 400, 200).data).size > 2",
        timeout=60_000,
    )
    before = canvas.evaluate(pixels)
    canvas.focus()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "before => document.querySelector('[data-console-screen] canvas').toDataURL() !== before",
        arg=before,
        timeout=60_000,
    )
    with page.expect_download() as download:
        page.locator("[data-console-shot]").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    page.locator("[data-console-reconnect]").click()
    connected(page)


def test_recorded_output_is_searched_and_shown_when_the_vm_is_off(guest: str, open_page: Callable[[str], Page]) -> None:
    page = open_page(guest)
    page.locator("#do-stop").click()
    page.locator("dialog[open] #confirm-stop").click()
    expect(page.locator("#vm-head [data-field=state]")).to_have_text("TERMINATED", timeout=BOOT_MS)
    console = open_page(f"{guest}console/?q=sum-42")
    expect(console.locator(".console__lines mark").first).to_have_text("sum-42")
    expect(console.locator("[data-console-status]")).to_have_attribute("data-state", "off", timeout=15_000)
    sees(console, "sum-42|after-3|Power|down", 20)
    screen = open_page(f"{guest}screen/")
    expect(screen.locator("[data-console-status]")).to_have_attribute("data-state", "off", timeout=15_000)
