"""A furnished portal to look at: real processes of the web, rows instead of guests. And the list of its pages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext

from tests.stack import CHECKOUT, PASSWORD, Stack

#: What is expected is waited for this long, also where a machine is slow and busy; a test that passes never waits so.
PATIENCE_MS = 60_000
#: name -> path, for who is signed in as the administrator, who sees everything.
PAGES: dict[str, str] = {
    "overview": "/",
    "search": "/search/?q=web",
    "search-empty": "/search/?q=nothing-like-this",
    "projects": "/projects/",
    "project-new": "/projects/new/",
    "vms": "/projects/default/vms/",
    "vms-filtered": "/projects/default/vms/?q=nothing-like-this",
    "vms-empty": "/projects/empty/vms/",
    "vm-new": "/projects/default/vms/new/",
    "vm": "/projects/default/vms/web-1/",
    "vm-repairing": "/projects/default/vms/web-2/",
    "vm-edit": "/projects/default/vms/web-1/edit/",
    "vm-confirm": "/projects/default/vms/web-1/confirm/delete/",
    "operations": "/projects/default/operations/",
    "members": "/projects/default/members/",
    "audit": "/projects/default/audit/",
    "notifications": "/notifications/",
    "notification-choices": "/account/notifications/",
    "preferences": "/account/preferences/",
    "password": "/accounts/password/change/",
    "sign-out": "/accounts/logout/",
    "operators": "/operators/",
    "missing": "/projects/nowhere/vms/",
}
BEFORE_THE_DOOR: dict[str, str] = {
    "sign-in": "/accounts/login/",
    "sign-up-closed": "/accounts/signup/",
    "password-reset": "/accounts/password/reset/",
    "invitation-unknown": "/invitations/wrong/",
}
ADMIN: dict[str, str] = {
    "admin": "/admin/",
    "admin-vms": "/admin/lifecycle/vm/",
    "admin-hosts": "/admin/lifecycle/host/",
    "admin-audit": "/admin/lifecycle/auditentry/",
}


class Gallery(Stack):
    """A stack without guests: no image, no host of this machine, no worker."""

    def prepare(self) -> None:
        """Database, static files, rows."""
        for name in ("run", "log", "images"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.start_redis()
        for words in (("migrate", "--noinput"), ("createcachetable",), ("collectstatic", "--noinput")):
            self.manage(*words)
        self.manage("compilemessages", "--ignore=var", "--verbosity=0")
        self.manage("bootstrap", "--json")
        done = subprocess.run(
            [sys.executable, "-m", "tests.e2e.furnish"],
            cwd=CHECKOUT,
            env={**self.environment, "DJANGO_SETTINGS_MODULE": "vmportal.settings"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the portal could not be furnished:\n{done.stderr}")

    def stop(self) -> None:
        """Stop all processes; nothing was made in libvirt."""
        for name in [*reversed([n for n in self.running if n != "redis"]), "redis"]:
            self.end(name)


@contextmanager
def open_gallery(root: Path) -> Iterator[Gallery]:
    """The furnished portal, running."""
    os.environ.setdefault("VMPORTAL_NODE_MODULES", str(CHECKOUT / "var" / "browser" / "node_modules"))
    gallery = Gallery(root, processes=("web",))
    try:
        gallery.prepare()
        gallery.start()
        yield gallery
    finally:
        gallery.stop()


def sign_in(gallery: Stack, browser: Browser, name: str = "admin", **options: object) -> BrowserContext:
    """A browser session of that person."""
    context = browser.new_context(base_url=gallery.url, **options)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", PASSWORD)
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_url(gallery.url + "/")
    page.close()
    return context
