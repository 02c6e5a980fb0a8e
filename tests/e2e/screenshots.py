"""`./portal screenshots [FOLDER]`: every page, in both themes, two widths and both languages, into docs/screenshots.

The portal is furnished with rows (`furnish.py`), so that nothing depends on a guest's luck. FOLDER gets all pictures
(docs/screenshots/pages, which git does not keep); README's and docs' own are written beside it and are kept.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import django
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")
django.setup()

from tests.e2e.conftest import CHROMIUM, CHROMIUM_ARGUMENTS  # noqa: E402  # after the set-up
from tests.e2e.every_page import ADMIN, walk  # noqa: E402
from tests.e2e.gallery import BEFORE_THE_DOOR, Gallery, open_gallery, sign_in  # noqa: E402
from tests.stack import CHECKOUT  # noqa: E402

DOCUMENTED = CHECKOUT / "docs" / "screenshots"
PAGES = DOCUMENTED / "pages"
WIDTHS = {"desktop": (1440, 900), "phone": (360, 780)}
THEMES = ("light", "dark")
LANGUAGES = ("en", "fr")
SETTLED_MS = 400
LONGEST_PX = 6000
COLOURS = 256
#: name -> path, theme, width, language of what README and docs show.
SHOWN = {
    "home-light": ("/", "light", "desktop", "en"),
    "home-dark-fr": ("/", "dark", "desktop", "fr"),
    "vm-list-light": ("/projects/default/vms/", "light", "desktop", "en"),
    "vm-list-phone": ("/projects/default/vms/", "light", "phone", "en"),
    "vm-list-phone-dark-fr": ("/projects/default/vms/", "dark", "phone", "fr"),
    "create-light": ("/projects/default/vms/new/", "light", "desktop", "en"),
    "charts-light": ("/projects/default/vms/web-1/charts/?span=hour", "light", "desktop", "en"),
    "timeline-light": ("/projects/default/vms/web-2/timeline/", "light", "desktop", "en"),
    "costs-light": ("/projects/default/billing/", "light", "desktop", "en"),
    "images-dark": ("/projects/default/images/", "dark", "desktop", "en"),
    "operators-dark-fr": ("/operators/", "dark", "desktop", "fr"),
    "schedules-light": ("/projects/default/vms/web-1/schedules/", "light", "desktop", "en"),
    "vm-running-light": ("/projects/default/vms/web-1/", "light", "desktop", "en"),
    "vm-running-dark": ("/projects/default/vms/web-1/", "dark", "desktop", "en"),
    "admin-light": ("/admin/", "light", "desktop", "en"),
}


def name_of(path: str) -> str:
    """A file's name for an address; numbers and UUIDs are left out, so that a page keeps its name."""
    plain = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\?at=.*", "one", path).replace("projects/default/", "in-")
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "home"


def shoot(page: Page, path: str, file: Path) -> None:
    """One picture of one page, with few colours, so that it stays small; median cut keeps its ground as it is."""
    page.goto(path)
    page.wait_for_timeout(SETTLED_MS)
    height = page.evaluate("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": min(height, LONGEST_PX)}  # type: ignore[index]
    page.screenshot(path=file, full_page=True, clip=clip)  # type: ignore[arg-type]
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


def eyes(gallery: Gallery, browser: Browser) -> Iterator[tuple[Page, Page, str, str, str]]:
    """A page signed in and one before the door, for each theme, width and language."""
    for theme, width, language in product(THEMES, WIDTHS, LANGUAGES):
        x, y = WIDTHS[width]
        looks: dict[str, Any] = {
            "color_scheme": theme,
            "viewport": {"width": x, "height": y},
            "locale": language,
            "extra_http_headers": {"Accept-Language": language},
            "reduced_motion": "reduce",
        }
        inside = sign_in(gallery, browser, **looks)
        outside = browser.new_context(base_url=gallery.url, **looks)
        yield inside.new_page(), outside.new_page(), theme, width, language
        inside.close()
        outside.close()


def take(gallery: Gallery, browser: Browser, folder: Path | None) -> int:
    """The documented pictures, and with a folder all; how many."""
    taken = 0
    paths: list[str] = []
    for inside, outside, theme, width, language in eyes(gallery, browser):
        for name, (path, *view) in SHOWN.items():
            if view == [theme, width, language]:
                shoot(inside, path, DOCUMENTED / f"{name}.png")
                taken += 1
        if folder is None:
            continue
        paths = paths or [*walk(inside.context.request), *ADMIN]
        for page, path in [(inside, path) for path in paths] + [(outside, path) for path in BEFORE_THE_DOOR.values()]:
            shoot(page, path, folder / f"{name_of(path)}-{width}-{theme}-{language}.png")
            taken += 1
    return taken


def main() -> None:
    """Take them, and say how many there are."""
    parser = argparse.ArgumentParser(prog="portal screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=PAGES, help="where all pictures go")
    parser.add_argument("--shown", action="store_true", help="only those that README and docs show")
    chosen = parser.parse_args()
    folder: Path | None = None if chosen.shown else chosen.folder
    for place in filter(None, (DOCUMENTED, folder)):
        place.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="vmportal-shots-") as root,
        open_gallery(Path(root)) as gallery,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        taken = take(gallery, browser, folder)
        browser.close()
    sys.stdout.write(f"{taken} pictures in {DOCUMENTED}{f' and {folder}' if folder else ''}\n")


if __name__ == "__main__":
    main()
