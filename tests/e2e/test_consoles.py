"""Both consoles against a real guest in a real browser; who gets nothing from them; the guest's load in its chart."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.e2e.conftest import visit
from tests.stack import PASSWORD, Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(1200)]

VM = "/projects/default/vms/console-1/"
BOOT_MS = 120_000
#: The tiny guest asks for a login on its serial port and its screen once root has a password.
USER_DATA = "#cloud-config\npassword: console\nchpasswd: {expire: false}\n"
STRANGER = f"from tests import factories; factories.make_user('steve', password={PASSWORD!r})"
CANVAS = "document.querySelector('[data-console-screen] canvas')"
#: Close codes: no session; no such ticket for this session.
SIGNED_OUT, BAD_TICKET = 4401, 4409


@pytest.fixture(scope="module")
def guest(stack: Stack, signed_in: BrowserContext) -> Iterator[str]:
    """A running VM whose root has a password."""
    if "gateway" not in stack.running:
        stack.start("gateway")
    page = signed_in.new_page()
    visit(page, "/projects/default/vms/new/")
    page.fill("input[name=name]", "console-1")
    page.locator("details.more > summary").click()
    page.fill("textarea[name=user_data]", USER_DATA)
    page.locator("form:has(input[name=name]) button[type=submit]").click()
    expect(page.locator("#vm-head [data-field=state]")).to_have_text("RUNNING", timeout=BOOT_MS)
    page.close()
    yield VM
    page = signed_in.new_page()
    visit(page, VM)
    page.locator("#do-delete").click()
    page.locator("dialog[open] #confirm-delete").click()
    page.wait_for_url("**/vms/")
    expect(page.locator("[data-vm]:has-text('console-1')")).to_have_count(0, timeout=60_000)
    page.close()


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


def connected(page: Page) -> None:
    expect(page.locator("[data-console-status]")).to_have_attribute("data-state", "connected", timeout=BOOT_MS)


def shown(page: Page) -> str:
    """What the terminal shows."""
    return "\n".join(page.locator(".xterm-rows > div").all_inner_texts()).replace("\xa0", " ").rstrip()


def sees(page: Page, text: str, seconds: float = 120) -> None:
    """Wait until the terminal shows it."""
    wait_until(lambda: re.search(text, shown(page)), seconds, f"{text!r} in the terminal", every=0.3)


def type_line(page: Page, line: str) -> None:
    page.locator(".xterm-helper-textarea").focus()
    page.keyboard.type(line)
    page.keyboard.press("Enter")


def enter_the_guest(page: Page) -> None:
    """Until its shell asks for a command; whoever comes later finds it open."""
    connected(page)
    sees(page, r"login:|[#~] *$", 120)
    if re.search(r"login: *$", shown(page)):
        type_line(page, "root")
        sees(page, "Password:")
        type_line(page, "console")
    sees(page, r"[#~] *$")


def test_a_command_is_typed_and_two_viewers_see_its_output(guest: str, open_page: Callable[[str], Page]) -> None:
    first = open_page(f"{guest}console/")
    enter_the_guest(first)
    second = open_page(f"{guest}console/")
    connected(second)
    type_line(first, "echo sum-$((40 + 2))")
    sees(first, "sum-42")
    sees(second, "sum-42")
    type_line(second, "echo product-$((6 * 7))")  # nobody was thrown out, and who came later types too
    sees(first, "product-42")
    expect(first.locator("[data-console-viewers]")).to_contain_text("2")
    second.locator("#console-find").fill("sum-42")
    second.keyboard.press("Enter")
    expect(second.locator("#console-find")).to_have_attribute("aria-invalid", "false")


def test_a_lost_gateway_is_found_again_and_a_cut_console_stays_closed(
    stack: Stack, guest: str, open_page: Callable[[str], Page]
) -> None:
    page = open_page(f"{guest}console/")
    enter_the_guest(page)
    type_line(page, "echo before-$((1 + 1))")
    sees(page, "before-2")
    stack.end("gateway", kill=True)
    expect(page.locator("[data-console-status]")).to_have_attribute("data-state", "reconnecting")
    stack.start("gateway")
    connected(page)
    sees(page, "before-2")
    type_line(page, "echo after-$((1 + 2))")
    sees(page, "after-3")
    # The one that died with its gateway stands in the list as well: the first is ours once the list came anew.
    for _asked_before_and_after in range(2):
        with page.expect_response("**/console/sessions/**"):
            pass
    expect(page.locator("#console-sessions")).not_to_have_class(re.compile("htmx-"))
    page.locator("#console-sessions form button").first.click()
    expect(page.locator("[data-console-status]")).to_have_attribute("data-state", "cut")


def test_the_screens_pixels_change_with_what_is_typed(guest: str, open_page: Callable[[str], Page]) -> None:
    page = open_page(f"{guest}screen/")
    connected(page)
    page.wait_for_function(
        f"() => new Set({CANVAS}.getContext('2d').getImageData(0, 0, 640, 400).data).size > 2", timeout=60_000
    )
    page.wait_for_timeout(1000)
    before = page.evaluate(f"{CANVAS}.toDataURL()")
    page.locator("[data-console-screen] canvas").focus()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    page.wait_for_function(f"before => {CANVAS}.toDataURL() !== before", arg=before, timeout=30_000)
    with page.expect_download() as download:
        page.locator("[data-console-shot]").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


class Dialled:
    """What a websocket of a console gets: its messages, and the code that ends it; `refused` before it opened."""

    def __init__(self, stack: Stack, context: BrowserContext, ticket: dict[str, str], origin: str = "") -> None:
        cookies = context.cookies(stack.url)
        cookie = "; ".join(f"{found.get('name')}={found.get('value')}" for found in cookies)
        self.messages: list[str | bytes] = []
        self.code, self.refused = 0, False
        headers = {"Cookie": cookie} if cookie else {}
        url = f"ws://127.0.0.1:{stack.port}{ticket['path']}"
        try:
            with connect(url, additional_headers=headers, origin=Origin(origin or stack.url), proxy=None) as socket:
                socket.send(json.dumps({"ticket": ticket["ticket"]}))
                self.messages.append(socket.recv(timeout=60))
        except InvalidStatus:
            self.refused = True
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else 0


def ticket_of(page: Page) -> dict[str, str]:
    """A fresh ticket, asked for as the console's script does."""
    asked = """() => fetch(document.querySelector('[data-console]').dataset.ticket, {method: 'POST',
      headers: {'X-CSRFToken': document.querySelector('[name=csrfmiddlewaretoken]').value}}).then(a => a.json())"""
    return cast("dict[str, str]", page.evaluate(asked))


def test_a_ticket_serves_once_its_own_person_and_origin(
    stack: Stack, guest: str, browser: Browser, signed_in: BrowserContext, open_page: Callable[[str], Page]
) -> None:
    page = open_page(f"{guest}console/")
    connected(page)
    used = ticket_of(page)
    assert json.loads(Dialled(stack, signed_in, used).messages[0]) == {"type": "open"}
    again = Dialled(stack, signed_in, used)
    assert (again.messages, again.code) == ([], BAD_TICKET)
    elsewhere = Dialled(stack, signed_in, ticket_of(page), origin="https://evil.example")
    assert (elsewhere.messages, elsewhere.refused) == ([], True)
    nobody = Dialled(stack, browser.new_context(), ticket_of(page))
    assert (nobody.messages, nobody.code) == ([], SIGNED_OUT)
    stack.manage("shell", "-c", STRANGER)
    steve = stranger(stack, browser)
    stolen = Dialled(stack, steve, ticket_of(page))
    assert (stolen.messages, stolen.code) == ([], BAD_TICKET)
    assert asks_for_one(steve, guest) == 404
    steve.close()


def stranger(stack: Stack, browser: Browser) -> BrowserContext:
    """Steve, who is signed in and a member of nothing."""
    context = browser.new_context(base_url=stack.url)
    page = context.new_page()
    visit(page, "/accounts/login/")
    page.fill("input[name=login]", "steve")
    page.fill("input[name=password]", PASSWORD)
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_url(f"{stack.url}/")
    return context


def asks_for_one(context: BrowserContext, guest: str) -> Any:
    """The answer's status to a request for a ticket, with a good CSRF token."""
    return context.pages[0].evaluate(
        """path => fetch(path, {method: 'POST', headers: {'X-CSRFToken':
          document.querySelector('[name=csrfmiddlewaretoken]').value}}).then(answer => answer.status)""",
        f"{guest}console/serial/ticket/",
    )


def cpu(page: Page) -> float | None:
    """The percentage that the chart's legend shows."""
    found = re.match(r"[\d.]+", page.locator("[data-latest=cpu]").inner_text())
    return float(found[0]) if found else None


def test_the_cpu_chart_shows_the_load_of_a_guest_as_it_comes(guest: str, open_page: Callable[[str], Page]) -> None:
    chart = open_page(f"{guest}charts/?span=live")
    expect(chart.locator("[data-charts-status]")).to_have_text("Live")
    console = open_page(f"{guest}console/")
    enter_the_guest(console)
    chart.bring_to_front()
    # Its boot is a load of its own.
    wait_until(lambda: (idle := cpu(chart)) is not None and idle < 50, 180, "a guest at rest in the chart", every=0.5)
    idle = cpu(chart) or 0.0
    console.bring_to_front()
    type_line(console, "while :; do :; done &")
    # Pushed, without a reload. A busy guest of one vCPU uses most of a core; what it gets is what the machine has.
    chart.bring_to_front()
    wait_until(lambda: (cpu(chart) or 0) > idle + 25, 180, "the load in the chart", every=0.5)
    expect(chart.locator("[data-chart=cpu] canvas")).to_be_visible()
    chart.locator("[data-chart=cpu] [data-plot]").focus()
    chart.keyboard.press("End")
    values = chart.locator("[data-chart=cpu] [data-values]")
    expect(values).to_contain_text(re.compile(r"CPU: [\d.]+ %.*State: Running"))
    kept = chart.request.get(f"{guest}charts/?span=hour&as=csv").text().splitlines()
    assert max(float(row.split(",")[1]) for row in kept[1:]) > 0.25
    assert any(float(row.split(",")[2] or 0) > 10 for row in kept[1:]), "the guest tells its memory"


def test_recorded_output_is_searched_and_shown_when_the_vm_is_off(guest: str, open_page: Callable[[str], Page]) -> None:
    page = open_page(guest)
    page.locator("#do-stop").click()
    page.locator("dialog[open] #confirm-stop").click()
    expect(page.locator("#vm-head [data-field=state]")).to_have_text("TERMINATED", timeout=BOOT_MS)
    console = open_page(f"{guest}console/?q=sum-42")
    expect(console.locator(".console__lines mark").first).to_have_text("sum-42")
    expect(console.locator("[data-console-status]")).to_have_attribute("data-state", "off")
    screen = open_page(f"{guest}screen/")
    expect(screen.locator("[data-console-status]")).to_have_attribute("data-state", "off")


def test_a_console_opens_by_itself_when_the_vm_runs_again_in_any_language(
    stack: Stack, guest: str, signed_in: BrowserContext, open_page: Callable[[str], Page]
) -> None:
    """What the badge says is French then; what the script looks at is not what the badge says."""
    signed_in.add_cookies([{"name": "vmportal_language", "value": "fr", "url": stack.url}])
    console = open_page(f"{guest}console/")
    expect(console.locator("html")).to_have_attribute("lang", "fr")
    expect(console.locator("[data-console-status]")).to_have_attribute("data-state", "off")
    console.locator("#do-start").click()
    connected(console)
    signed_in.clear_cookies(name="vmportal_language")
