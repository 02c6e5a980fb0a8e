"""A remote VNC server's UNIX socket, forwarded to one here by OpenSSH: no port is opened on either side."""

import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from lifecycle.domain.errors import Refused, Transient

READY_SECONDS: Final = 15.0
_ERROR_BYTES: Final = 500


def is_local(uri: str) -> bool:
    """Whether libvirt is reached by a UNIX socket of this machine: only there can a daemon hand over sockets."""
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    return not parts.netloc and transport in {"", "unix"}


def is_ssh(uri: str) -> bool:
    """Whether libvirt is reached by OpenSSH."""
    return urlsplit(uri).scheme.partition("+")[2] == "ssh"


def ssh_command(uri: str, here: str, there: str) -> list[str]:
    """OpenSSH that forwards the socket `here` to the host's `there`, as libvirt itself would reach the host."""
    parts, options = urlsplit(uri), parse_qs(urlsplit(uri).query)
    known = options.get("known_hosts")
    return [
        "ssh",
        *("-N", "-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=5"),
        *("-o", f"ConnectTimeout={int(READY_SECONDS)}", "-o", "StreamLocalBindMask=0177"),
        *(("-p", str(parts.port)) if parts.port else ()),
        *(("-l", parts.username) if parts.username else ()),
        *(("-i", options["keyfile"][0]) if "keyfile" in options else ()),
        *(("-o", f"UserKnownHostsFile={known[0]}") if known else ()),
        *("-L", f"{here}:{there}", "--", parts.hostname or ""),
    ]


class Tunnel:
    """An ssh process and its socket in a directory of its own. Raises `Transient` when it does not come up."""

    def __init__(self, uri: str, there: str) -> None:
        if not there or ":" in there:
            raise Refused("open_screen: the VNC server has no UNIX socket that can be forwarded")
        self._folder = tempfile.TemporaryDirectory(prefix="vmp-screen-")
        self.path = str(Path(self._folder.name) / "vnc")
        self._process = subprocess.Popen(
            ssh_command(uri, self.path, there),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def connect(self) -> socket.socket:
        """A non-blocking socket through the tunnel."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            made = socket.socket(socket.AF_UNIX)
            try:
                made.connect(self.path)
            except OSError:
                made.close()
                time.sleep(0.05)
            else:
                made.setblocking(False)
                return made
        said = self._said()
        raise Transient(f"open_screen: ssh did not forward the screen: {said}")

    def close(self) -> None:
        """End ssh and remove the socket."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._folder.cleanup()

    def _said(self) -> str:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        error = self._process.stderr
        text = error.read(_ERROR_BYTES).decode(errors="replace").strip() if error is not None else ""
        self.close()
        return text or "no answer in time"
