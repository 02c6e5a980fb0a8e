"""Runs other programs: quietly, with their last lines at hand when they fail, as root where that is needed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vmportal.launcher.errors import PortalError

LAST_LINES = 15
CLEAN_UP_SECONDS = 60
# What root's programs get: nothing of the caller's environment that could change what they do.
ROOT_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
PASSED_TO_ROOT = ("http_proxy", "https_proxy", "no_proxy", "TERM", "SSL_CERT_FILE")


def run(
    argv: Sequence[str | Path],
    failure: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    each_line: Callable[[str], None] | None = None,
) -> str:
    """The program's output, both streams. Raises PortalError `failure` with the last lines when it fails or is absent.

    `each_line` sees every line as it comes.
    """
    lines: list[str] = []
    try:
        with subprocess.Popen(
            [str(word) for word in argv],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                if each_line:
                    each_line(lines[-1])
    except FileNotFoundError as error:
        raise PortalError(failure, f"{argv[0]} is not installed.") from error
    if process.returncode:
        raise PortalError(failure, "\n".join(lines[-LAST_LINES:]) or f"It ended with status {process.returncode}.")
    return "\n".join(lines)


class Terminated(KeyboardInterrupt):
    """A request to end that reached this process alone; Ctrl-C reaches those it started as well."""


def end_by_exception() -> None:
    """From here on SIGTERM arrives as `Terminated`, so that what was started is stopped again."""

    def terminate(_number: int, _frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def foreground(argv: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> int:
    """Run the program on our terminal; its exit status. When we are to end, it gets the time to clean up behind it."""
    with subprocess.Popen([str(word) for word in argv], env=env, cwd=cwd) as process:
        try:
            return process.wait()
        except KeyboardInterrupt as interrupt:
            if isinstance(interrupt, Terminated):
                process.send_signal(signal.SIGINT)
            try:
                process.wait(CLEAN_UP_SECONDS)
            except BaseException:  # it takes too long, or somebody is impatient
                process.kill()
            raise


def as_root(argv: Sequence[str]) -> list[str]:
    """`argv` to be run as root, by sudo when we are not. Raises PortalError where there is no sudo."""
    environment = ROOT_ENVIRONMENT | {key: os.environ[key] for key in PASSED_TO_ROOT if key in os.environ}
    clean = ["env", "-i", *(f"{key}={value}" for key, value in environment.items()), *argv]
    if os.geteuid() == 0:
        return clean
    if not shutil.which("sudo"):
        raise PortalError(
            f"This needs root ({' '.join(argv[:3])}), and sudo is not installed: run ./portal as root once."
        )
    return ["sudo", *clean]


def authorise(why: str) -> None:
    """Let sudo ask for the password before the display starts. Raises PortalError when it is not granted."""
    if os.geteuid() == 0:
        return
    command = as_root(["true"])
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return
    print(f"Root is needed {why}.", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise PortalError(f"Root is needed {why}, and sudo refused.")
