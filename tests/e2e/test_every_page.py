"""Every page: accessible in both themes, within its budget, from our own origin; and usable without scripts."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.every_page import ADMIN, walk
from tests.e2e.gallery import Gallery

pytestmark = [pytest.mark.e2e]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
#: Of a first visit, everything that is loaded, as it crosses the network: requests and KiB.
BUDGET = (20, 220)
#: What draws a screen, a terminal or charts is loaded by these pages alone, and noVNC is a file a module. The admin's
#: theme brings a font of icons.
BUDGETS = {"/screen/": (80, 320), "/console/": (30, 480), "/charts/": (30, 320), "/admin/": (40, 1200)}
#: Width, theme: all of them on one visit. Colours are those of the theme, places those of the width.
SETTLED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 60))))"
#: Whose words do not fit into it, and lie over what is beside it.
SPILLING = """() => {
    const spills = element => {
        const style = getComputedStyle(element);
        const isBox = element.offsetParent && style.display !== "inline" && style.overflowX === "visible";
        const speaks = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        return isBox && speaks && element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1;
    };
    return [...document.querySelectorAll("main *")].filter(spills).map(element => element.outerHTML.slice(0, 200));
}"""
VIEWS = ((1280, "light"), (1280, "dark"), (360, "dark"))
BEFORE_THE_DOOR = ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/invitations/wrong/")


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's source; it is evaluated by the browser's debugger, which no policy binds."""
    return (Path(os.environ["VMPORTAL_NODE_MODULES"]) / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def paths(person: BrowserContext) -> list[str]:
    found = [*walk(person.request), *ADMIN]
    assert len(found) > 20
    return found


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds on the page in both themes and widths, a line each: where it was looked at, rule, where, why."""
    page.evaluate(axe)
    lines = []
    for width, theme in VIEWS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.evaluate(SETTLED)
        found: dict[str, Any] = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
        lines += [
            f"{width} {theme} {rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        lines += [f"{width} {theme}: it scrolls sideways by {wide} px"] * (wide > 0)
        lines += [f"{width} {theme}: words do not fit into {found}" for found in page.evaluate(SPILLING)]
    return lines


class Weighed:
    """A page that loads everything anew, and tells how much that was, and from where."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.sizes: list[float] = []
        self.urls: list[str] = []
        session = context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.on("Network.loadingFinished", lambda event: self.sizes.append(event["encodedDataLength"]))
        self.page.on("request", lambda request: self.urls.append(request.url))

    def visit(self, path: str) -> str:
        """Open it; what is over its budget, or nothing."""
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.goto("about:blank")
        self.sizes.clear()
        self.urls.clear()
        self.page.goto(path)
        requests, kib = len(self.urls), sum(self.sizes) / 1024
        most = next((budget for part, budget in BUDGETS.items() if part in path), BUDGET)
        return f"{requests} requests, {kib:.0f} KiB" if requests > most[0] or kib > most[1] else ""


@pytest.mark.timeout(3600)
def test_every_page_is_accessible_light_and_from_here(
    gallery: Gallery, person: BrowserContext, paths: list[str], axe: str
) -> None:
    """Each page once, with an empty cache: axe in both themes and widths, its budget, and who was asked for files."""
    weighed, found, elsewhere = Weighed(person), {}, set()
    mine = urlsplit(gallery.url).netloc
    for path in paths:
        over = weighed.visit(path)
        elsewhere |= {url for url in weighed.urls if urlsplit(url).netloc not in {mine, ""}}
        if lines := [*violations(weighed.page, axe), *filter(None, [over])]:
            found[path] = lines
    weighed.page.close()
    assert not elsewhere
    assert not found, json.dumps(found, indent=1)


def test_pages_before_the_door_are_accessible(gallery: Gallery, browser: Browser, axe: str) -> None:
    context = browser.new_context(base_url=gallery.url)
    weighed = Weighed(context)
    found = {}
    for path in BEFORE_THE_DOOR:
        over = weighed.visit(path)
        if lines := [*violations(weighed.page, axe), *filter(None, [over])]:
            found[path] = lines
    context.close()
    assert not found, json.dumps(found, indent=1)


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
    page.wait_for_url("**/vms/plain-1/")
    page.goto("/projects/default/vms/?q=env%3Dplain")
    expect(page.locator("tr[data-vm]")).to_have_count(1)
    page.check("tr[data-vm] input[name=vm]")
    page.locator(".bulk button[value=delete]").click()
    page.locator("main:not(:has(.bulk)) button[value=delete]").click()
    expect(page.locator(".results li")).to_contain_text("plain-1")
    page.goto("/search/")
    page.fill("main input[name=q]", "web-1")
    page.keyboard.press("Enter")
    expect(page.locator("a.found__hit", has_text="web-1").first).to_be_visible()
    context.close()
