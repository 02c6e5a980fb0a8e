"""A libvirtd of the tests' own, for libvirt's test driver: it has no guests and touches nothing of the machine.

It runs as an unprivileged user, so that all its state is in one temporary directory. Its test driver
(`test+unix:///default?socket=…`) keeps its state while a connection to it is open.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 120
PROGRAM = shutil.which("libvirtd", path="/usr/sbin:/usr/bin") or "/usr/sbin/libvirtd"


class PrivateLibvirtd:
    """One daemon; `start` returns when it answers, `stop` ends it by its own process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.root / "run" / "libvirt" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """The test driver behind it."""
        return f"test+unix:///default?socket={self.socket}"

    def start(self) -> None:
        """Start it in directories of its own."""
        places = {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache", "HOME": "home"}
        for name in places.values():
            (self.root / name).mkdir(parents=True)
        env = {"PATH": os.environ["PATH"], **{key: str(self.root / name) for key, name in places.items()}}
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), env=env, cwd=self.root, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the private libvirtd did not start:\n{(self.root / 'log').read_text()}")
            time.sleep(0.02)

    def _command(self) -> list[str]:
        """It ends with the tests, however they end. Never as root: such a libvirtd would take the machine's places."""
        bound = ["setpriv", "--pdeathsig", "TERM"]
        if os.geteuid():
            return [*bound, PROGRAM]
        nobody = pwd.getpwnam("nobody")
        for directory in (self.root, *self.root.iterdir()):
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        return [*bound, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", PROGRAM]

    def answers(self) -> bool:
        """Whether its socket accepts connections."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def freeze(self) -> None:
        """It hangs: it accepts nothing and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
