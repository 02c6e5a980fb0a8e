"""A real guest under load, and the chart that shows it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import visit
from tests.e2e.test_story import LIST, badge, press
from tests.stack import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.guest]

NAME = "busy-1"
CHARTS = f"{LIST}{NAME}/charts/"
LOAD = "#!/bin/sh\n(while :; do :; done) &\ndd if=/dev/zero of=/root/written bs=1M count=8 && sync\n"


def cpu(page: Page) -> float:
    """The percentage that the legend shows; 0 for none."""
    found = re.match(r"[\d.]+", page.locator("[data-latest=cpu]").inner_text())
    return float(found[0]) if found else 0.0


def test_the_cpu_chart_shows_the_load_of_a_guest_as_it_comes(page: Page) -> None:
    visit(page, f"{LIST}new/")
    page.fill("input[name=name]", NAME)
    page.fill("textarea[name=startup_script]", LOAD)
    page.locator("form:has(input[name=name]) button[type=submit]").click()
    page.wait_for_url(re.compile(re.escape(f"{LIST}{NAME}/")))
    expect(badge(page)).to_contain_text("RUNNING", timeout=120_000)

    visit(page, f"{CHARTS}?span=live")
    expect(page.locator("[data-charts-status]")).to_have_text("Live")
    # Pushed, without a reload: a busy guest of one vCPU uses most of a core; what it gets is what the machine has.
    wait_until(lambda: cpu(page) > 30, 150, "the load in the chart", every=0.5)
    expect(page.locator("[data-chart=cpu] canvas")).to_be_visible()
    plot = page.locator("[data-chart=cpu] [data-plot]")
    plot.focus()
    page.keyboard.press("End")
    expect(page.locator("[data-chart=cpu] [data-values]")).to_contain_text(re.compile(r"CPU: [\d.]+ %.*State: Running"))

    kept = page.request.get(f"{CHARTS}?span=hour&as=csv").text().splitlines()
    assert max(float(row.split(",")[1]) for row in kept[1:]) > 0.3
    assert any(float(row.split(",")[2] or 0) > 10 for row in kept[1:]), "the guest tells its memory"
    assert sum(float(row.split(",")[4] or 0) for row in kept[1:]) * 10 > 4 * 2**20, "what it wrote to its disk"

    visit(page, f"{LIST}{NAME}/")
    press(page, "delete")
    page.wait_for_url(re.compile(LIST + r"$"))
