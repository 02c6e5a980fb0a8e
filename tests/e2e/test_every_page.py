"""Every page: accessible in both themes, within its budget, from our own origin, and usable without scripts."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from tests.e2e.every_page import walk
from tests.e2e.gallery import Gallery, open_gallery, sign_in

pytestmark = [pytest.mark.e2e]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
#: Of a first visit, everything that is loaded, as it crosses the network. Consoles load what draws a screen.
REQUESTS_MAX, KIB_MAX = 20, 220
HEAVY = ("/console", "/charts/")
BEFORE_THE_DOOR = ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/invitations/wrong/")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with open_gallery(tmp_path_factory.mktemp("gallery")) as opened:
        yield opened


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's source; it is evaluated by the browser's debugger, which no policy binds."""
    return (Path(os.environ["VMPORTAL_NODE_MODULES"]) / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def person(gallery: Gallery, browser: Browser) -> Iterator[BrowserContext]:
    context = sign_in(gallery, browser, locale="en-GB", viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture(scope="module")
def paths(person: BrowserContext) -> list[str]:
    found = list(walk(person.request))
    assert len(found) > 20
    return found


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds on the page, a line each: rule, where, why."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_is_accessible(person: BrowserContext, paths: list[str], axe: str, theme: str, width: int) -> None:
    page = person.new_page()
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for path in paths:
        page.goto(path)
        if lines := violations(page, axe):
            found[path] = lines
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.setdefault(path, []).append(f"it scrolls sideways by {wide} px")
    page.close()
    assert not found, json.dumps(found, indent=1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_before_the_door_are_accessible(gallery: Gallery, browser: Browser, axe: str, theme: str) -> None:
    context = browser.new_context(base_url=gallery.url, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    found = {}
    for path in BEFORE_THE_DOOR:
        page.goto(path)
        if lines := violations(page, axe):
            found[path] = lines
    context.close()
    assert not found, json.dumps(found, indent=1)


def test_pages_keep_to_their_budget_and_to_our_origin(
    gallery: Gallery, browser: Browser, person: BrowserContext, paths: list[str]
) -> None:
    """Each page with an empty cache: how much crosses the network, and from whom."""
    over, elsewhere = {}, set()
    for path in paths:
        context = browser.new_context(base_url=gallery.url, storage_state=person.storage_state())
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        sizes, urls = _listen(page, session)
        page.goto(path)
        page.wait_for_load_state("load")
        mine = urlsplit(gallery.url).netloc
        elsewhere |= {url for url in urls if urlsplit(url).netloc not in {mine, ""}}
        kib = sum(sizes) / 1024
        if not any(part in path for part in HEAVY) and (len(urls) > REQUESTS_MAX or kib > KIB_MAX):
            over[path] = f"{len(urls)} requests, {kib:.0f} KiB"
        context.close()
    assert not elsewhere
    assert not over


def _listen(page: Page, session: CDPSession) -> tuple[list[float], list[str]]:
    """The sizes (bytes on the network) and the addresses of all that the page loads from now on."""
    sizes: list[float] = []
    urls: list[str] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.on("request", lambda request: urls.append(request.url))
    return sizes, urls


def test_without_scripts_pages_are_read_and_forms_work(gallery: Gallery, browser: Browser) -> None:
    """The story of a VM, its list, labels, many at once, search: links and forms alone."""
    context = browser.new_context(base_url=gallery.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.fill("input[name=login]", "admin")
    page.fill("input[name=password]", "a-long-enough-passphrase")
    page.click("main form button[type=submit]")
    expect(page.locator("h1")).to_have_text("Overview")
    page.goto("/projects/default/vms/new/")
    page.fill("input[name=name]", "plain-1")
    page.click("main form.form button[type=submit]")
    expect(page.locator("h1")).to_have_text("plain-1")
    page.goto("/projects/default/vms/plain-1/edit/")
    page.fill("textarea[name=labels]", "env=plain")
    page.click("main form.form button[type=submit]")
    page.goto("/projects/default/vms/?q=env%3Dplain")
    expect(page.locator("tr[data-vm]")).to_have_count(1)
    page.check("tr[data-vm] input[name=vm]")
    page.locator(".bulk button[value=delete]").click()
    page.locator("button[value=delete]").click()
    expect(page.locator(".results li")).to_contain_text("plain-1")
    page.goto("/search/")
    page.fill("main input[name=q]", "web-1")
    page.keyboard.press("Enter")
    expect(page.locator("a.found__hit", has_text="web-1").first).to_be_visible()
    context.close()


def test_the_palette_is_opened_and_left_by_keys_alone(person: BrowserContext) -> None:
    page = person.new_page()
    page.goto("/projects/default/vms/")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    page.keyboard.type("db-pri")
    expect(page.locator("#palette [data-hit]").first).to_contain_text("db-primary")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/vms/db-primary/")
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/operations/")
    page.close()


def test_a_passkey_signs_in_without_a_password(gallery: Gallery, browser: Browser) -> None:
    """Chromium's own virtual authenticator stands in for a phone's."""
    context = sign_in(gallery, browser, "tess")
    page = context.new_page()
    port = urlsplit(gallery.url).port
    base = f"http://localhost:{port}"  # a passkey is bound to a name, not to an address
    page.goto(f"{base}/accounts/login/")
    page.fill("input[name=login]", "tess")
    page.fill("input[name=password]", "a-long-enough-passphrase")
    page.locator("main form button[type=submit]").first.click()
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto(f"{base}/accounts/2fa/webauthn/add/")
    page.fill("input[name=password]", "a-long-enough-passphrase")
    page.locator("main form button[type=submit]").first.click()
    page.fill("input[name=name]", "laptop")
    page.check("input[name=passwordless]")
    page.click("#mfa_webauthn_add")
    page.wait_for_url("**/accounts/2fa/**")
    context.clear_cookies()
    page.goto(f"{base}/accounts/login/")
    page.click("#passkey_login")
    page.wait_for_url(f"{base}/")
    expect(page.locator("h1")).to_have_text("Overview")
    context.close()
