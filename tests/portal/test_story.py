"""A whole installation of its own by `./portal`: up, status, up again, a killed process, down, nothing left."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stack import clean_host, free_port, wait_until
from vmportal.launcher.installation import CHECKOUT, Installation
from vmportal.launcher.processes import carries

pytestmark = [pytest.mark.portal, pytest.mark.libvirt, pytest.mark.slow, pytest.mark.timeout(1800)]

# What the tests' own environment says must not reach the installation under test.
OURS = ("VMPORTAL_", "DATABASE_", "REDIS_", "SECRET_", "ALLOWED_", "EMAIL_", "DJANGO_", "DEBUG")


@dataclass
class Portal:
    """`./portal --var DIR`, in an environment of its own."""

    var: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        store = os.environ.get("VMPORTAL_IMAGE_STORE", str(CHECKOUT / "var" / "images"))
        libraries = os.environ["VMPORTAL_NODE_MODULES"]
        ready = {"VMPORTAL_VENV": sys.prefix, "VMPORTAL_NODE_MODULES": libraries, "VMPORTAL_IMAGE_STORE": store}
        return {**kept, **ready}

    @property
    def argv(self) -> list[str]:
        return [str(CHECKOUT / "portal"), "--var", str(self.var)]

    def run(self, *words: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.argv, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--detach", "--port", str(self.port))

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.run("status", "--json").stdout))

    def left(self) -> list[int]:
        return carries(Installation(self.var).marker)


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    """An installation in a short directory of its own, taken down and cleaned away whatever happens."""
    made = Portal(Path(tempfile.mkdtemp(prefix="vmp-")), free_port())
    try:
        yield made
    finally:
        made.run("down")
        identity = made.var / "installation"
        if identity.exists():
            clean_host(identity.read_text().strip())
        shutil.rmtree(made.var, ignore_errors=True)


@pytest.fixture(scope="module")
def first_up(portal: Portal) -> subprocess.CompletedProcess[str]:
    done = portal.up()
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def password_in(text: str) -> str:
    return next(line for line in text.splitlines() if "One-time password:" in line).split(":")[1].strip(" │")


def test_the_first_up_tells_the_address_and_the_login(
    portal: Portal, first_up: subprocess.CompletedProcess[str]
) -> None:
    assert f"http://127.0.0.1:{portal.port}" in first_up.stdout
    assert "Sign in as admin" in first_up.stdout
    assert len(password_in(first_up.stdout)) >= 12


@pytest.mark.usefixtures("first_up")
def test_it_is_healthy_with_each_process_running(portal: Portal) -> None:
    found = portal.status()
    assert found["problems"] == []
    assert {each["name"]: each["state"] for each in found["processes"]} == dict.fromkeys(
        ("redis", "web", "gateway", "worker", "beat", "watcher"), "RUNNING"
    )
    assert found["versions"]["libvirt"]
    assert portal.run("status").returncode == 0


def test_the_password_is_kept_nowhere(portal: Portal, first_up: subprocess.CompletedProcess[str]) -> None:
    password = password_in(first_up.stdout).encode()
    for path in portal.var.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert password not in read(path), path
    for pid in portal.left():
        assert password not in read(Path(f"/proc/{pid}/cmdline"))


def read(path: Path) -> bytes:
    """What is in a file; nothing when it is gone meanwhile, as a database's journal or a process that was short."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.usefixtures("first_up")
def test_up_again_takes_no_time_and_changes_nothing(portal: Portal) -> None:
    before = portal.left()
    started = time.monotonic()
    again = portal.up()
    assert time.monotonic() - started < 60
    assert again.returncode == 0
    assert "already running" in again.stdout
    assert "password" not in again.stdout
    assert portal.left() == before


@pytest.mark.usefixtures("first_up")
def test_a_killed_process_is_restarted_alone(portal: Portal) -> None:
    pids = {each["name"]: each["pid"] for each in portal.status()["processes"]}
    os.kill(pids["web"], signal.SIGKILL)
    deadline = time.monotonic() + 180
    while not (found := portal.status())["healthy"] and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found["problems"] == []
    now = {each["name"]: each["pid"] for each in found["processes"]}
    assert now.pop("web") != pids.pop("web")
    assert now == pids


@pytest.mark.usefixtures("first_up")
def test_manage_sees_the_installations_data(portal: Portal) -> None:
    shown = portal.run("manage", "portal_status", "--json")
    assert json.loads(shown.stdout)["hosts"][0]["uri"] == "qemu:///system"


@pytest.mark.usefixtures("first_up")
def test_logs_are_shown_by_process(portal: Portal) -> None:
    wait_until(lambda: "ready" in portal.run("logs", "worker", "-n", "200").stdout, 180, "a worker that is ready")


@pytest.mark.usefixtures("first_up")
def test_down_leaves_nothing_and_the_next_up_takes_seconds(portal: Portal) -> None:
    assert portal.run("down").returncode == 0
    assert portal.left() == []
    assert portal.run("status").returncode == 1
    started = time.monotonic()
    again = portal.up()
    assert again.returncode == 0, again.stdout + again.stderr
    assert time.monotonic() - started < 240
    assert "One-time password" not in again.stdout
    assert len(portal.status()["portal"]["hosts"]) == 1
    assert portal.run("down").returncode == 0


@pytest.mark.usefixtures("first_up")
def test_in_the_foreground_it_ends_by_ctrl_c(portal: Portal) -> None:
    portal.run("down")
    argv = [*portal.argv, "up", "--port", str(portal.port)]
    with subprocess.Popen(
        argv, env=portal.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if "Ctrl-C stops it" in line:
                break
        second = portal.run("up", "--detach")
        assert "already running" in second.stdout
        process.send_signal(signal.SIGINT)
        assert process.wait(240) == 0, "".join(lines)
    assert portal.left() == []


@pytest.mark.usefixtures("first_up")
def test_what_a_killed_supervisor_left_behind_is_ended_by_the_next_up(portal: Portal) -> None:
    assert portal.up().returncode == 0
    orphans = portal.left()
    assert {each["pid"] for each in portal.status()["processes"]} < set(orphans)
    os.kill(int((portal.var / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    again = portal.up()
    assert again.returncode == 0, again.stdout + again.stderr
    assert not set(orphans) & set(portal.left())
    portal.run("down")
    assert portal.left() == []


def test_two_ups_at_once_do_not_race() -> None:
    var = Path(tempfile.gettempdir()) / f"vmp-{secrets.token_hex(4)}"
    installation = Installation(var)
    try:
        installation.prepare()
        with installation.lock():
            refused = Portal(var, free_port()).up()
        assert refused.returncode == 1
        assert "Another ./portal is at work" in refused.stderr
    finally:
        shutil.rmtree(var, ignore_errors=True)
