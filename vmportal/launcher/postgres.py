"""A private PostgreSQL for the tests: its own directory and UNIX socket, no TCP, gone afterwards."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmportal.launcher.commands import run
from vmportal.launcher.errors import PortalError

OWNER = "postgres"
# Safe to lose: a test's database needs no disk flushes. 200: the races of fifty connections, twice over.
OPTIONS = "-c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


def binaries() -> Path:
    """Where Debian keeps the newest PostgreSQL's programs. Raises PortalError when there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise PortalError("PostgreSQL is not installed under /usr/lib/postgresql.")
    return found[-1].parent


@contextmanager
def private_postgres() -> Iterator[str]:
    """Run a server for the time of the block; the value is its DATABASE_URL."""
    # Not under VAR: PostgreSQL refuses to run as root, and its own user must reach the directory.
    root = Path(tempfile.mkdtemp(prefix="vmp-pg-", dir="/tmp"))
    data = root / "data"
    try:
        if os.geteuid() == 0:
            shutil.chown(root, OWNER, OWNER)
        run(
            _as_owner(
                [binaries() / "initdb", "-D", data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
            ),
            "PostgreSQL's data directory could not be made",
            cwd=root,
        )
        run(
            _as_owner(
                [
                    binaries() / "pg_ctl",
                    "-D",
                    data,
                    "-w",
                    "-t",
                    "30",
                    "-l",
                    root / "log",
                    "-o",
                    f"{OPTIONS} -k {root}",
                    "start",
                ]
            ),
            "PostgreSQL did not start",
            cwd=root,
        )
        yield f"postgres://{OWNER}@/{OWNER}?host={root}"
    finally:
        stop = _as_owner([binaries() / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
        subprocess.run(stop, capture_output=True, check=False, cwd="/")
        shutil.rmtree(root, ignore_errors=True)


def _as_owner(argv: list[str | Path]) -> list[str]:
    """`argv` as PostgreSQL's own user when we are root, which it refuses to be."""
    words = [str(word) for word in argv]
    if os.geteuid():
        return words
    owner = pwd.getpwnam(OWNER)
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", *words]
