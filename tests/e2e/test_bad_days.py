"""What a person sees while something behind the portal is away."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import visit
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.guest]

LIST = "/projects/default/vms/"
NAME = "storm-1"
PAGE = f"{LIST}{NAME}/"


def test_without_redis_pages_work_and_requests_are_kept(stack: Stack, page: Page) -> None:
    """Redis dies: pages answer and say that they are not live; a request is written, and carried out."""
    visit(page, LIST)
    expect(page.locator("[data-live-status]")).to_have_attribute("data-live-status", "connected")
    stack.end("redis", kill=True)
    try:
        visit(page, LIST)
        expect(page.locator("[data-live-status]")).not_to_have_attribute("data-live-status", "connected")
        visit(page, f"{LIST}new/")
        page.fill("input[name=name]", NAME)
        page.locator("form:has(input[name=name]) button[type=submit]").click()
        page.wait_for_url(f"**{PAGE}")
        expect(page.locator("[data-field=state]").first).to_be_visible()
    finally:
        stack.redis_socket.unlink(missing_ok=True)
        stack.start_redis()
    visit(page, PAGE)
    expect(page.locator("[data-vm] [data-field=state]").first).to_contain_text("RUNNING", timeout=120_000)
    expect(page.locator("[data-live-status]")).to_have_attribute("data-live-status", "connected", timeout=60_000)
    page.locator("#do-delete").click()
    page.locator("dialog[open] #confirm-delete").click()
    page.wait_for_url(f"**{LIST}")
    expect(page.locator(f"[data-vm]:has-text('{NAME}')")).to_have_count(0, timeout=60_000)


def test_a_killed_worker_delays_an_operation_and_loses_nothing(stack: Stack, page: Page) -> None:
    """The worker is killed while a VM is asked for: the next one carries it out."""
    stack.end("worker", kill=True)
    visit(page, f"{LIST}new/")
    page.fill("input[name=name]", NAME)
    page.locator("form:has(input[name=name]) button[type=submit]").click()
    page.wait_for_url(f"**{PAGE}")
    state = page.locator("[data-vm] [data-field=state]").first
    expect(state).to_contain_text("PROVISIONING")
    stack.start("worker")
    expect(state).to_contain_text("RUNNING", timeout=120_000)
    page.locator("#do-delete").click()
    page.locator("dialog[open] #confirm-delete").click()
    page.wait_for_url(f"**{LIST}")
    expect(page.locator(f"[data-vm]:has-text('{NAME}')")).to_have_count(0, timeout=60_000)
