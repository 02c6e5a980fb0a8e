"""The virtual environment, made from the hash-pinned lock and stamped with it."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from vmportal.launcher.commands import run
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation, write_private

LOCKS = {"runtime": CHECKOUT / "requirements" / "runtime.txt", "dev": CHECKOUT / "requirements" / "dev.txt"}
STAMP = "vmportal.lock"


def lock_hash(name: str) -> str:
    """What identifies the contents of the lock `runtime` or `dev`."""
    return hashlib.sha256(LOCKS[name].read_bytes()).hexdigest()


def is_current(installation: Installation, name: str) -> bool:
    """Whether the environment already holds everything in the lock; `dev` holds `runtime` too."""
    if "VMPORTAL_VENV" in os.environ and installation.python.exists():
        return True
    try:
        stamped = (installation.venv / STAMP).read_text(encoding="utf-8").split()
    except OSError:
        return False
    return installation.python.exists() and f"{name}:{lock_hash(name)}" in stamped


def install(installation: Installation, name: str, say: Callable[[str], None]) -> None:
    """Bring the environment to the lock `name`. Raises PortalError with pip's last lines when that fails."""
    venv = installation.venv
    (venv / STAMP).unlink(missing_ok=True)
    env = installation.environment({"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"})
    if not _works(installation):
        shutil.rmtree(venv, ignore_errors=True)
        run(["/usr/bin/python3", "-m", "venv", venv], "the virtual environment could not be made", env=env)
    run(
        [installation.python, "-m", "pip", "install", "--no-cache-dir", "--require-hashes", "-r", LOCKS[name]],
        "pip could not install the locked packages",
        env=env,
        each_line=lambda line: say(
            line.split("(")[0][:70].rstrip(". ") if line.startswith("Collecting") else "installing"
        ),
    )
    names = ("runtime", "dev") if name == "dev" else ("runtime",)
    write_private(venv / STAMP, "".join(f"{each}:{lock_hash(each)}\n" for each in names), mode=0o644)


def _works(installation: Installation) -> bool:
    """Whether the environment's Python starts: one whose base Python was replaced does not."""
    try:
        run([installation.python, "-m", "pip", "--version"], "no pip")
    except (PortalError, OSError):
        return False
    return True


def redis_server(installation: Installation) -> Path:
    """A link to Redis's binary, in the environment, under the name by which it serves (it looks at its own name)."""
    link = installation.venv / "bin" / "redis-server"
    binary = Path(shutil.which("redis-server") or "/usr/bin/redis-check-rdb")
    if binary != link and not link.is_symlink():
        link.symlink_to(binary)
    return link
