"""One installation: its directory, its identity, its files."""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmportal.launcher.errors import PortalError

CHECKOUT = Path(__file__).resolve().parents[2]
# sockaddr_un holds 108 bytes with the closing NUL; supervisor binds "<socket>.<pid>" before it renames.
SOCKET_PATH_BYTES = 107
LONGEST_SOCKET = "run/supervisor.sock.4194304"


@dataclass(frozen=True)
class Installation:
    """The paths of the installation whose state lives in `var`."""

    var: Path

    @property
    def run(self) -> Path:
        return self.var / "run"

    @property
    def logs(self) -> Path:
        return self.var / "logs"

    @property
    def secrets(self) -> Path:
        return self.var / "secrets"

    @property
    def venv(self) -> Path:
        """The virtual environment; VMPORTAL_VENV names a ready one (an image, a test) to use instead."""
        return Path(os.environ.get("VMPORTAL_VENV") or self.var / "venv")

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def node_modules(self) -> Path:
        """The libraries that pages load; VMPORTAL_NODE_MODULES names ready ones (an image, a test) to use instead."""
        return Path(os.environ.get("VMPORTAL_NODE_MODULES") or self.var / "browser" / "node_modules")

    @property
    def redis_socket(self) -> Path:
        return self.run / "redis.sock"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def env_file(self) -> Path:
        """The operator's own settings, KEY=VALUE a line."""
        return self.var / "env"

    @property
    def marker(self) -> str:
        """Stands in the environment of every process that this installation runs, so that none is ever lost."""
        return f"VMPORTAL_SUPERVISED={self.var}"

    def id(self) -> str:
        """The six hex characters in this installation's names; made at the first call."""
        path = self.var / "installation"
        if not path.exists():
            write_private(path, secrets.token_hex(3) + "\n", mode=0o644)
        found = path.read_text(encoding="utf-8").strip()
        if not re.fullmatch(r"[0-9a-f]{6}", found):
            raise PortalError(f"{path} must hold six hex characters, not {found!r}.")
        return found

    def prepare(self) -> None:
        """Make the directories, the identity and the secret key. Raises PortalError where that cannot be."""
        check_path(self.var)
        try:
            for path, mode in ((self.var, 0o755), (self.run, 0o700), (self.logs, 0o700), (self.secrets, 0o700)):
                path.mkdir(mode=mode, parents=True, exist_ok=True)
            for path in (self.run, self.logs, self.secrets):
                path.chmod(0o700)
        except OSError as error:
            raise PortalError(f"{self.var} cannot hold an installation: {error.strerror}.") from error
        self.id()
        key = self.secrets / "secret_key"
        if not key.exists():
            write_private(key, secrets.token_urlsafe(60) + "\n")

    def file_settings(self) -> dict[str, str]:
        """What the env file says. Raises PortalError for a line that is no KEY=VALUE."""
        if not self.env_file.exists():
            return {}
        return parse_env(self.env_file.read_text(encoding="utf-8"), self.env_file)

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """What this installation's processes see: ours, the terminal's, the env file's, `extra`, each over the last."""
        kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
        return {
            **kept,
            **self.file_settings(),
            "VMPORTAL_VAR": str(self.var),
            "VMPORTAL_INSTALLATION": self.id(),
            "VMPORTAL_NODE_MODULES": str(self.node_modules),
            "DJANGO_SETTINGS_MODULE": "vmportal.settings",
            "PYTHONPYCACHEPREFIX": str(self.var / "cache" / "pycache"),
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{self.venv / 'bin'}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
            **(extra or {}),
        }

    def remember(self, name: str, value: dict[str, Any]) -> None:
        """Keep `value` for later commands, in run/<name>.json."""
        write_private(self.run / f"{name}.json", json.dumps(value, indent=1))

    def recall(self, name: str) -> dict[str, Any]:
        """What `remember` kept; empty where there is nothing."""
        try:
            found = json.loads((self.run / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while the installation is being changed. Raises PortalError when another command holds it."""
        with (self.run / "portal.lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PortalError(f"Another ./portal is at work on {self.var}; wait until it is done.") from error
            yield


def check_path(var: Path) -> None:
    """Raises PortalError when `var` leaves no room for UNIX sockets inside it, or cannot stand in configurations."""
    for odd in ("%", '"', "\\", "\n", " ;"):
        if odd in str(var):
            raise PortalError(f"--var {var} holds {odd!r}, which its processes' configuration cannot. Choose another.")
    most = SOCKET_PATH_BYTES - len(LONGEST_SOCKET) - 1
    if len(os.fsencode(var)) > most:
        raise PortalError(
            f"--var {var} is too long: {len(os.fsencode(var))} bytes, and a UNIX socket's path leaves room for {most}. "
            "Choose a shorter directory."
        )


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Write `text` so that a reader finds the old file or the whole new one, never readable more widely than `mode`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def parse_env(text: str, path: Path) -> dict[str, str]:
    """KEY=VALUE lines; blank lines and # comments are skipped, quotes around a value removed.

    Raises PortalError with the line's number for anything else.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        match = re.fullmatch(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", line)
        if not match:
            raise PortalError(f"{path}, line {number}: not KEY=VALUE.")
        key, value = match[1], match[2].strip()
        found[key] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
    return found
