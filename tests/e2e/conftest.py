"""A whole installation with real guests, and a real browser.

Of the package, not of the session: while Playwright's synchronous API is open, its event loop counts as running in the
main thread, and neither Django's queries nor asynchronous tests of other folders would work.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.e2e.gallery import PATIENCE_MS, Gallery, open_gallery, sign_in
from tests.stack import PASSWORD, Stack, running_stack

#: Debian's, deaf to guests' network interfaces.
CHROMIUM = str(Path(__file__).with_name("quiet_chromium.py"))
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
#: Without these Debian's Chromium talks to hosts of its vendor, and as root it needs no sandbox.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The product, running."""
    root: Path = tmp_path_factory.mktemp("e2e")
    with running_stack(root) as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def signed_in(stack: Stack, browser: Browser) -> Iterator[BrowserContext]:
    """The administrator's session: signed in with the one-time password, which is replaced as asked."""
    context = browser.new_context(base_url=stack.url, locale="en-GB", viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/")
    page.fill("input[name=login]", "admin")
    page.fill("input[name=password]", stack.admin_password)
    page.locator("main form button[type=submit]").first.click()
    page.fill("input[name=oldpassword]", stack.admin_password)
    page.fill("input[name=password1]", PASSWORD)
    page.fill("input[name=password2]", PASSWORD)
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    page.close()
    yield context
    context.close()


@pytest.fixture(scope="package")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """A furnished portal: every page has something to show, and no guest runs."""
    with open_gallery(tmp_path_factory.mktemp("gallery")) as opened:
        yield opened


@pytest.fixture(scope="module")
def person(gallery: Gallery, browser: Browser) -> Iterator[BrowserContext]:
    """The administrator in the gallery, who sees everything."""
    context = sign_in(gallery, browser, locale="en-GB", viewport={"width": 1280, "height": 900})
    yield context
    context.close()


def visit(page: Page, path: str, tries: int = 5) -> None:
    """Open a page. Chromium drops requests while a guest's network interface comes or goes: those are repeated."""
    for left in reversed(range(tries)):
        try:
            page.goto(path)
            return
        except PlaywrightError as error:
            if NETWORK_CHANGED not in error.message or not left:
                raise
            page.wait_for_timeout(500)


@pytest.fixture
def page(signed_in: BrowserContext) -> Iterator[Page]:
    """A page whose console errors fail the test, but for the requests that Chromium itself drops (see `visit`)."""
    opened = signed_in.new_page()
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    opened.close()
    assert [problem for problem in problems if NETWORK_CHANGED not in problem] == []
