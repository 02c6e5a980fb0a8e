"""What one feels rather than sees: nothing jumps when a state changes, and no file is fetched twice."""

import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.e2e.gallery import Gallery, sign_in

pytestmark = [pytest.mark.e2e]

NAME = "calm-1"
MAKE = f"""
from lifecycle.domain.states import State
from lifecycle.models import Host, Image, Project
from tests import factories
host, image = Host.objects.get(name="host-1"), Image.objects.filter(name="debian-12").get()
vm = factories.make_vm(Project.objects.get(slug="shop"), "{NAME}", State.TERMINATED, host=host, image=image)
factories.give_history(vm)
"""
#: One process makes all moves, with time between them for the pages to fetch what changed.
MOVES = f"""
import time
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import Host, VM
from lifecycle.services.transitions import move
vm, host = VM.objects.get(name="{NAME}"), Host.objects.get(name="host-1")
way = [State.TERMINATED, State.PROVISIONING, State.STAGING, State.RUNNING]
for source, target in zip(way, way[1:]):
    move(vm.pk, Action.START, source, target, asked_by=Asker.USER, host=host, reason="A reason of some length.")
    time.sleep(1.5)
"""
OBSERVE = """window.shifts = [];
new PerformanceObserver(list => {
  for (const shift of list.getEntries()) {
    const parts = shift.sources.map(({node}) => (node?.outerHTML ?? String(node?.textContent)).slice(0, 90));
    window.shifts.push({value: shift.value, parts});
  }
}).observe({type: "layout-shift", buffered: false});"""
#: What the eye and the pointer rest on. Which actions are offered changes: their row keeps its height and its end.
PLACES = """() => [...document.querySelectorAll(
  "h1, #vm-head .state, #vm-head .buttons, #vm > *, .vm-page .panel:not(#timeline), tr[data-vm] > *")]
  .map((node) => [node, node.getBoundingClientRect()])
  .map(([node, box]) => [node.tagName, node.id, node.matches(".buttons") ? box.right : box.x, box.y])"""
#: Files and the bytes that crossed the network for them: none for what the browser had.
FETCHED = """() => performance.getEntriesByType("resource").filter(({name}) => name.includes("/static/"))
  .map(({name, transferSize}) => [name, transferSize])"""
#: The part of the screen that moves, times how far: Google's bound of a good page is 0.1 over its whole life.
MOST = 0.01


@pytest.mark.parametrize("width", [1440, 360])
def test_nothing_moves_when_a_state_changes(gallery: Gallery, person: BrowserContext, width: int) -> None:
    """From off to running, on the page of the VM and in the list."""
    gallery.manage("shell", "-c", MAKE.replace(NAME, f"calm-{width}"))
    pages = []
    for path in ("/projects/shop/vms/", f"/projects/shop/vms/calm-{width}/"):
        page = person.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path)
        expect(page.locator("[data-live-status]")).to_have_attribute("data-live-status", "connected")
        page.evaluate(OBSERVE)
        pages.append((page, page.evaluate(PLACES)))
    gallery.manage("shell", "-c", MOVES.replace(NAME, f"calm-{width}"))
    for page, before in pages:
        badge = page.locator(f"[data-vm]:has-text('calm-{width}') [data-field=state], #vm-head [data-field=state]")
        expect(badge.first).to_have_attribute("data-state", "RUNNING")
        page.wait_for_timeout(1_500)
        shifts = page.evaluate("window.shifts")
        assert sum(shift["value"] for shift in shifts) < MOST, json.dumps(shifts, indent=1)
        assert page.evaluate(PLACES) == before
        page.close()


def works(page: Page) -> None:
    """All scripts of a page with charts have come and run."""
    expect(page.locator("[data-chart=memory] canvas")).to_be_visible()
    expect(page.locator("[data-live-status]")).to_have_attribute("data-live-status", "connected")
    page.wait_for_load_state("networkidle")


def test_files_are_named_by_their_content_compressed_and_kept_for_ever(person: BrowserContext) -> None:
    """Every style sheet and script of a page with much of both; a second visit asks for none of them."""
    page = person.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer) if "/static/" in answer.url else None)
    page.goto("/projects/default/vms/web-1/charts/?span=hour")
    works(page)
    assert len(answers) > 8
    for answer in answers:
        headers = answer.headers
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", answer.url), answer.url
        assert "immutable" in headers["cache-control"], answer.url
        if answer.url.endswith((".css", ".js", ".mjs")) and int(headers.get("content-length", 9999)) > 200:
            assert headers.get("content-encoding") in {"br", "gzip", "zstd"}, answer.url
    page.goto("/projects/default/vms/web-1/charts/?span=day")
    works(page)
    fetched = page.evaluate(FETCHED)
    assert len(fetched) > 8
    assert [name for name, size in fetched if size] == []
    page.close()


@pytest.mark.parametrize("path", ["/projects/default/audit/", "/projects/default/vms/web-1/costs/"])
def test_the_tab_of_a_page_is_in_sight_on_a_phone(person: BrowserContext, path: str) -> None:
    page = person.new_page()
    page.set_viewport_size({"width": 360, "height": 780})
    page.goto(path)
    page.wait_for_load_state("networkidle")
    for row in page.locator(".tabs:has([aria-current]), .subtabs__row").all():
        box = row.locator("[aria-current]").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    page.close()


def test_charts_speak_the_language_and_the_zone_of_the_page(gallery: Gallery, browser: Browser) -> None:
    """The script draws over what the server drew: in the zone that the person chose, not in the browser's."""
    context = sign_in(gallery, browser, locale="fr-FR", timezone_id="Pacific/Auckland")
    context.add_cookies([{"name": "vmportal_time_zone", "value": "Asia%2FTokyo", "url": gallery.url}])
    page = context.new_page()
    page.goto("/projects/default/vms/web-1/charts/?span=hour")
    expect(page.locator("[data-chart=memory] canvas")).to_be_visible()
    expect(page.locator("[data-latest=memory]")).to_contain_text("Mio")
    expect(page.locator("[data-chart=network] .chart__top")).to_contain_text("io/s")
    plot = page.locator("[data-chart=cpu] [data-plot]")
    plot.focus()
    page.keyboard.press("End")
    shown = page.locator("[data-chart=cpu] [data-values]").inner_text()
    zone = page.locator("[data-charts]").get_attribute("data-zone")
    newest = page.evaluate("JSON.parse(document.getElementById('charts-data').textContent).times.at(-1)")
    there = datetime.fromtimestamp(newest, ZoneInfo(zone or ""))
    assert zone != "Pacific/Auckland"
    assert f"{there:%H:%M:%S}" in shown
    context.close()
