"""Charts in a real browser: drawn over in place, exact under the cursor, and following along."""

import os
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lifecycle.domain.states import State
from lifecycle.domain.usage import FIVE_MINUTES, Values, merge, summary_of
from lifecycle.models import VM, HostUsage, Project, VMUsage
from lifecycle.realtime import messages, push, recent
from tests import factories
from tests.e2e.conftest import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.e2e.gallery import PATIENCE_MS
from tests.realtime.servers import Web, until

VALUES: Values = (0.25, 64.0, 1024.0, 2048.0, 100.0, 50.0)
PATH = "/projects/lab/vms/web-1/charts/"


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
def page(browser: Browser, web: Web, cookie: str) -> Iterator[Page]:
    """The owner's tab; what its scripts or the content policy complain of fails the test."""
    name, _, value = cookie.partition("=")
    context = browser.new_context(base_url=web.origin, locale="en-GB", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    context.add_cookies([{"name": name, "value": value, "url": web.origin}])
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    context.close()
    assert problems == []


@pytest.fixture
def vm(project: Project) -> VM:
    """A VM with an hour of samples and a day of rows, each with a gap."""
    since = timezone.now() - timedelta(hours=1)  # a band of no second is none
    made = factories.give_history(factories.make_vm(project, "web-1", State.RUNNING, state_since=since))
    now = int(time.time())
    for age in (*range(300, 200, -10), *range(120, 10, -10)):
        recent.keep(now - age, {recent.vm_subject(made.pk): (0.2 + age / 1000, *VALUES[1:])})
    assert made.host is not None
    begin = now // FIVE_MINUTES * FIVE_MINUTES
    packed = merge(summary_of(VALUES), summary_of((0.75, *VALUES[1:]))).pack()
    for index in (*range(1, 60), *range(90, 250)):
        at = begin - index * FIVE_MINUTES
        VMUsage.objects.create(vm=made, length=FIVE_MINUTES, begin=at, packed=packed)
        HostUsage.objects.create(host=made.host, project=project, length=FIVE_MINUTES, begin=at, packed=packed)
    return made


def pushed(vm: VM, cpu: float, seconds_ago: int = 0) -> None:
    """What the collector does with a sample that somebody looks at."""
    assert vm.host_id
    at = int(time.time()) - seconds_ago
    push.usage(recent.vm_subject(vm.pk), messages.usage_message(at, vm.host_id, (cpu, *VALUES[1:])))


def test_a_chart_follows_along_and_tells_exact_values(web: Web, vm: VM, page: Page) -> None:
    page.goto(f"{PATH}?span=live")
    cpu = page.locator("[data-chart=cpu]")
    expect(cpu.locator("canvas")).to_be_visible()
    expect(page.locator("[data-charts-status]")).to_have_text("Live")
    before = cpu.bounding_box()
    for age in range(90, 0, -20):  # however long the page took: after a gap the state is not known
        pushed(vm, 0.22, seconds_ago=age)
    pushed(vm, 0.875)
    expect(page.locator("[data-latest=cpu]")).to_have_text("87.5 %")
    assert cpu.bounding_box() == before, "nothing moves"
    cpu.locator("[data-plot]").focus()
    page.keyboard.press("End")
    expect(cpu.locator("[data-values]")).to_contain_text("CPU: 87.5 %")
    expect(cpu.locator("[data-values]")).to_contain_text("State: Running")
    page.keyboard.press("ArrowLeft")
    expect(cpu.locator("[data-values]")).to_contain_text("CPU: 22 %")
    page.keyboard.press("Escape")
    expect(cpu.locator("[data-values]")).to_have_text("")


def test_the_pointer_reads_a_day_with_lowest_and_highest(web: Web, vm: VM, page: Page) -> None:
    page.goto(f"{PATH}?span=day")
    plot = page.locator("[data-chart=cpu] [data-plot]")
    expect(plot.locator("canvas")).to_be_visible()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it has its size
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + 40)
    expect(page.locator("[data-chart=cpu] [data-values]")).to_contain_text("CPU: 50 % (25 % – 75 %)")


def test_without_a_script_the_chart_and_its_table_are_there(web: Web, vm: VM, page: Page, browser: Browser) -> None:
    state = page.context.storage_state()
    context = browser.new_context(base_url=web.origin, storage_state=state, java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{PATH}?span=day")
    expect(plain.locator("[data-chart=cpu] svg")).to_be_visible()
    expect(plain.locator("[data-chart=cpu] svg path.chart__line")).to_have_count(1)
    plain.locator(".charts__table summary").click()
    expect(plain.locator(".charts__table tbody tr").first).to_contain_text("50 %")
    context.close()


def test_nothing_is_wider_than_a_small_phone(web: Web, vm: VM, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    for path in (f"{PATH}?span=day", "/projects/lab/charts/?span=day", "/projects/lab/vms/web-1/timeline/"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_who_looks_is_known_to_the_collector(web: Web, vm: VM, page: Page) -> None:
    page.goto(f"{PATH}?span=hour")
    until(lambda: recent.watched() == {recent.vm_subject(vm.pk)}, "the mark")
