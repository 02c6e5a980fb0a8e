"""Real worker processes over the test's database."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def database_url() -> str:
    """The test's database, for another process."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    return f"postgres://{values['USER']}@/{values['NAME']}?host={values['HOST']}"


class WorkerProcess:
    """`celery worker`, as the supervisor starts it; it finds its work by its own sweep."""

    def __init__(self, log: Path, **extra: str) -> None:
        self.log = log
        env = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "VMPORTAL_INSTALLATION": settings.INSTALLATION_ID,
            "VMPORTAL_IMAGE_STORE": str(settings.IMAGE_STORE),
            "VMPORTAL_SWEEP_SECONDS": "1",
            "SECRET_KEY": settings.SECRET_KEY,
            **extra,
        }
        argv = [sys.executable, "-m", "celery", "-A", "vmportal", "worker", "--pool", "threads", "-c", "2"]
        argv += ["-n", f"{log.stem}-{os.getpid()}@tests", "-Q", f"tests-{settings.INSTALLATION_ID}"]
        argv += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "info"]
        with log.open("ab") as out:
            self.process = subprocess.Popen(argv, cwd=CHECKOUT, env=env, stdout=out, stderr=out)

    def end(self, number: signal.Signals, seconds: float = 120) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it now, whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition or fail."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
