"""The whole story in a real browser, with a real guest under a real libvirtd."""

import re
import subprocess
from pathlib import Path

import libvirt
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import visit
from tests.stack import HOST_URI, Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.guest]

NAME = "story-1"
LIST = "/projects/default/vms/"
PAGE = f"{LIST}{NAME}/"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SSH key pair; the public half stands beside with .pub."""
    path = tmp_path_factory.mktemp("ssh") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "story", "-f", str(path)], check=True)
    return path


def badge(page: Page) -> Locator:
    """The VM page's state badge."""
    return page.locator("[data-vm] [data-field=state]").first


def press(page: Page, action: str) -> None:
    """Press an action's button and, where the portal asks first, confirm in the sheet."""
    page.locator(f"#do-{action}").click()
    if action in {"stop", "reset", "delete"}:
        page.locator(f"dialog[open] #confirm-{action}").click()


def domain(stack: Stack) -> libvirt.virDomain:
    """The guest as libvirt knows it."""
    connection = libvirt.open(HOST_URI)
    return next(d for d in connection.listAllDomains() if d.name().startswith(f"vmp-{stack.installation}-{NAME}-"))


def ssh(address: str, key: Path, command: str) -> str:
    """What the guest answers to a command; nothing when it is not there, or leaves in the middle of it."""
    options = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "BatchMode": "yes",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    argv = ["ssh", "-i", str(key), *words, f"root@{address}", command]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout
    except subprocess.TimeoutExpired:
        return ""


def test_a_person_creates_a_vm_and_lives_with_it(stack: Stack, page: Page, key: Path) -> None:
    """Create, watch, reach by ssh, suspend, resume, reset, stop, start, destroy outside, delete."""
    watcher = page.context.new_page()
    visit(watcher, LIST)
    expect(watcher.locator("[data-live-status]")).to_have_attribute("data-live-status", "connected")

    visit(page, f"{LIST}new/")
    page.fill("input[name=name]", NAME)
    page.fill("textarea[name=ssh_keys]", key.with_suffix(".pub").read_text())
    page.locator("form:has(input[name=name]) button[type=submit]").click()
    page.wait_for_url(re.compile(re.escape(PAGE)))
    expect(badge(page)).to_contain_text("RUNNING", timeout=120_000)
    # The other window, opened before, was told without a reload.
    expect(watcher.locator(f"[data-vm]:has-text('{NAME}') [data-field=state]")).to_contain_text("RUNNING")

    address = page.locator("[data-field=address]").first.inner_text().strip()
    wait_until(lambda: "up" in ssh(address, key, "uptime"), 240, "ssh", every=1)
    assert ssh(address, key, "hostname").strip() == NAME
    ssh(address, key, "echo kept > /run/in-memory; echo kept > /root/on-disk; sync")

    press(page, "suspend")
    expect(badge(page)).to_contain_text("SUSPENDED", timeout=120_000)
    assert domain(stack).hasManagedSaveImage()
    press(page, "resume")
    expect(badge(page)).to_contain_text("RUNNING", timeout=120_000)
    wait_until(lambda: ssh(address, key, "cat /run/in-memory").strip() == "kept", 240, "memory after resume", every=1)

    press(page, "reset")
    wait_until(lambda: ssh(address, key, "cat /run/in-memory || echo lost").strip() == "lost", 240, "a reset", every=1)
    expect(badge(page)).to_contain_text("RUNNING")

    press(page, "stop")
    expect(badge(page)).to_contain_text("TERMINATED", timeout=120_000)
    assert not domain(stack).isActive()
    press(page, "start")
    expect(badge(page)).to_contain_text("RUNNING", timeout=120_000)
    expect(page.locator("[data-field=address]").first).to_have_text(address)
    wait_until(lambda: ssh(address, key, "cat /root/on-disk").strip() == "kept", 240, "the disk", every=1)

    domain(stack).destroy()  # somebody at the host, outside of the product
    expect(badge(page)).to_contain_text("TERMINATED", timeout=60_000)

    press(page, "delete")
    page.wait_for_url(re.compile(LIST + r"$"))
    expect(watcher.locator(f"[data-vm]:has-text('{NAME}')")).to_have_count(0, timeout=120_000)
    watcher.close()
    assert not [d for d in libvirt.open(HOST_URI).listAllDomains() if stack.installation in d.name()]
