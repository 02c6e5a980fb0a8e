"""The libraries that pages load, by npm from the hash-pinned lock and stamped with it; none of their scripts run."""

import hashlib
import os
import shutil
from collections.abc import Callable

from vmportal.launcher.commands import run
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation, write_private

FILES = ("package.json", "package-lock.json", ".npmrc")
STAMP = "vmportal.lock"
# Debian's, for a machine that has no npm: beside another vendor's Node.js it could not be installed.
PACKAGES = ("npm",)


def packages_for_npm() -> set[str]:
    """The Debian packages that bring npm, where there is none."""
    return set() if shutil.which("npm") else set(PACKAGES)


def lock_hash() -> str:
    """What identifies the contents of the lock."""
    return hashlib.sha256((CHECKOUT / "package-lock.json").read_bytes()).hexdigest()


def is_current(installation: Installation, lock: str) -> bool:
    """Whether everything of the lock `runtime` or `dev` is there; `dev` holds `runtime` too."""
    if "VMPORTAL_NODE_MODULES" in os.environ and installation.node_modules.is_dir():
        return True
    try:
        stamped = (installation.node_modules.parent / STAMP).read_text(encoding="utf-8").split()
    except OSError:
        return False
    return installation.node_modules.is_dir() and f"{lock}:{lock_hash()}" in stamped


def install(installation: Installation, lock: str, say: Callable[[str], None]) -> None:
    """Bring the libraries to the lock. Raises PortalError with npm's last lines when that fails."""
    folder = installation.node_modules.parent
    (folder / STAMP).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(CHECKOUT / name, folder / name)
    kinds = () if lock == "dev" else ("--omit=dev",)
    try:
        run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", *kinds],
            "npm could not install the locked packages",
            env=installation.environment(),
            cwd=folder,
            each_line=lambda line: say(line[:70].rstrip(". ")),
        )
    except PortalError as error:
        raise PortalError(
            error.message, f"{error.details}\nAnother registry than npm's own is named in ~/.npmrc."
        ) from error
    names = ("runtime", "dev") if lock == "dev" else ("runtime",)
    write_private(folder / STAMP, "".join(f"{each}:{lock_hash()}\n" for each in names), mode=0o644)
