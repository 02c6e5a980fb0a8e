"""`python -m tests.e2e.screenshots [FOLDER]`: the pages, with real guests, in both themes, widths and languages."""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.conftest import CHROMIUM, CHROMIUM_ARGUMENTS
from tests.stack import CHECKOUT, PASSWORD, Stack, running_stack

DOCUMENTED = CHECKOUT / "docs" / "screenshots"
WIDTHS = {"desktop": (1440, 900), "phone": (360, 780)}
#: name -> path and scheme of what README shows
SHOWN = {
    "vm-list-light": ("/projects/default/vms/", "light"),
    "vm-running-light": ("/projects/default/vms/web-1/", "light"),
    "vm-running-dark": ("/projects/default/vms/web-1/", "dark"),
    "create-light": ("/projects/default/vms/new/", "light"),
}
PAGES = {
    "projects": "/projects/",
    "list": "/projects/default/vms/",
    "new": "/projects/default/vms/new/",
    "vm": "/projects/default/vms/web-1/",
    "vm-off": "/projects/default/vms/build-agent/",
    "confirm-delete": "/projects/default/vms/web-1/confirm/delete/",
    "operations": "/projects/default/operations/",
    "members": "/projects/default/members/",
    "operators": "/operators/",
    "preferences": "/account/preferences/",
    "missing": "/projects/nowhere/vms/",
    "admin": "/admin/",
    "admin-hosts": "/admin/lifecycle/host/",
}
FLEET = ("web-1", "web-2", "build-agent", "db-primary")


def sign_in(stack: Stack, context: BrowserContext) -> None:
    """First sign-in: the one-time password is replaced."""
    page = context.new_page()
    page.goto(f"{stack.url}/")
    page.fill("input[name=login]", "admin")
    page.fill("input[name=password]", stack.admin_password)
    page.locator("main form button[type=submit]").first.click()
    page.fill("input[name=oldpassword]", stack.admin_password)
    page.fill("input[name=password1]", PASSWORD)
    page.fill("input[name=password2]", PASSWORD)
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_load_state()
    page.close()


def furnish(stack: Stack, page: Page) -> None:
    """A few VMs: running, suspended, stopped."""
    for name in FLEET:
        page.goto(f"{stack.url}/projects/default/vms/new/")
        page.fill("input[name=name]", name)
        page.locator("form:has(input[name=name]) button[type=submit]").click()
        page.wait_for_url(f"**/vms/{name}/")
        expect(page.locator("[data-vm] [data-field=state]").first).to_contain_text("RUNNING", timeout=180_000)
    time.sleep(20)
    page.goto(f"{stack.url}/projects/default/vms/db-primary/")
    page.locator("#do-suspend").click()
    expect(page.locator("[data-vm] [data-field=state]").first).to_contain_text("SUSPENDED", timeout=180_000)
    page.goto(f"{stack.url}/projects/default/vms/build-agent/")
    page.locator("#do-stop").click()
    page.locator("dialog[open] #confirm-stop").click()
    expect(page.locator("[data-vm] [data-field=state]").first).to_contain_text("TERMINATED", timeout=180_000)


def shoot(
    browser: Browser, state: dict[str, object], url: str, path: str, file: Path, scheme: str, width: str, lang: str
) -> None:
    """One picture of one page."""
    x, y = WIDTHS[width]
    context = browser.new_context(
        storage_state=state,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": x, "height": y},
        extra_http_headers={"Accept-Language": lang},
        locale=lang,
    )
    page = context.new_page()
    page.goto(url + path)
    page.wait_for_timeout(1200)
    page.screenshot(path=file, full_page=width == "phone" or "admin" not in path)
    context.close()


def main(folder: Path | None) -> None:
    """All pages into `folder`, or those README shows into docs."""
    with (
        tempfile.TemporaryDirectory(prefix="vmportal-shots-") as root,
        running_stack(Path(root)) as stack,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        context = browser.new_context(locale="en-GB")
        sign_in(stack, context)
        furnish(stack, context.new_page())
        state = context.storage_state()
        DOCUMENTED.mkdir(parents=True, exist_ok=True)
        for name, (path, scheme) in SHOWN.items():
            shoot(browser, dict(state), stack.url, path, DOCUMENTED / f"{name}.png", scheme, "desktop", "en")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name, path in PAGES.items():
                for scheme in ("light", "dark"):
                    for width in WIDTHS:
                        for lang in ("en", "fr"):
                            file = folder / f"{name}-{width}-{scheme}-{lang}.png"
                            shoot(browser, dict(state), stack.url, path, file, scheme, width, lang)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
