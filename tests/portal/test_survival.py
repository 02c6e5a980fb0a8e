"""The portal is upgraded, and an old backup of it is put back, while real guests run: they go on, and are found."""

import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libvirt
import pytest

from lifecycle.domain.states import State
from tests.stack import HOST_URI, Stack, wait_until
from vmportal.launcher.backup import backup
from vmportal.launcher.display import Display
from vmportal.launcher.installation import Installation
from vmportal.launcher.restore import restore

pytestmark = [pytest.mark.guest, pytest.mark.libvirt, pytest.mark.slow, pytest.mark.timeout(1800)]

SECONDS = 240
QUIET = Display(quiet=True)
PROLOGUE = """
from lifecycle.models import *
from lifecycle.domain.transitions import Action
from lifecycle.domain.findings import Choice
from lifecycle.services import findings, vms
project, user = Project.objects.get(slug="default"), User.objects.get(username="admin")
"""


class Fleet:
    """A stack, what its database says, and what libvirt has of it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.host = libvirt.open(HOST_URI)

    def do(self, code: str) -> None:
        """Call services as the pages do."""
        self.stack.manage("shell", "--no-imports", "-c", PROLOGUE + code)

    def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.stack.root / "db.sqlite3", timeout=120)) as connection:
            return connection.execute(sql, values).fetchall()

    def states(self) -> dict[str, str]:
        return dict(self.rows("SELECT name, state FROM lifecycle_vm WHERE deleted_at IS NULL"))

    def wait(self, **states: State) -> None:
        def settled() -> bool:
            found = self.states()
            return all(found.get(name) == state for name, state in states.items())

        try:
            wait_until(settled, SECONDS, f"{states}")
        except TimeoutError as error:
            raise AssertionError(f"{states} expected, {self.states()} found\n{self.stack.log('worker')}") from error

    def runs(self) -> dict[str, int]:
        """libvirt's number of each running guest: another after each start."""
        mine = [each for each in self.host.listAllDomains() if each.name().startswith(f"vmp-{self.stack.installation}")]
        return {each.name().split("-")[2]: each.ID() for each in mine if each.isActive()}

    def findings(self) -> dict[tuple[str, str], str]:
        """(kind, VM's or domain's name) -> choice, of what is open and ours."""
        found = self.rows("SELECT kind, details, choice FROM lifecycle_finding WHERE closed_at IS NULL")
        named = {(kind, json.loads(details).get("name", "")): choice for kind, details, choice in found}
        return {key: choice for key, choice in named.items() if key[0] not in {"foreign_domain", "unknown_volume"}}

    def reconciled(self) -> None:
        """Wait for a reconcile that began after now: every VM that runs was seen since."""
        ((now,),) = self.rows("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
        late = "SELECT name FROM lifecycle_vm WHERE state = 'RUNNING' AND power_seen_at < ?"
        wait_until(lambda: not self.rows(late, now), SECONDS, "a reconcile")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Worker, watcher and three guests that run: `keep`, `halt` and `gone`."""
    root = Path(tempfile.mkdtemp(prefix="vmp-"))
    stack = Stack(root, processes=("worker", "watcher"), extra={"VMPORTAL_RECONCILE_SECONDS": "3"})
    try:
        (root / "installation").write_text(stack.installation + "\n")
        stack.prepare()
        stack.start()
        made = Fleet(stack)
        made.do(
            "for name in ('keep', 'halt', 'gone'): vms.request_create(project, vms.VMRequest(name=name), user=user)"
        )
        made.wait(keep=State.RUNNING, halt=State.RUNNING, gone=State.RUNNING)
        yield made
        made.host.close()
    finally:
        stack.stop()
        shutil.rmtree(root, ignore_errors=True)


def stop(fleet: Fleet) -> None:
    for name in ("worker", "watcher"):
        fleet.stack.end(name)


def test_an_older_database_is_upgraded_while_its_vms_run(fleet: Fleet) -> None:
    """As of the version before metering: its VMs are found running, and their intervals follow from their log."""
    before = fleet.runs()
    assert set(before) == {"keep", "halt", "gone"}
    stop(fleet)
    fleet.stack.manage("migrate", "lifecycle", "0002", "--verbosity=0")
    assert fleet.rows("SELECT count(*) FROM sqlite_master WHERE name = 'lifecycle_meteringinterval'") == [(0,)]
    fleet.stack.manage("migrate", "--verbosity=0")
    fleet.stack.start()
    fleet.reconciled()
    assert fleet.states() == dict.fromkeys(before, "RUNNING")
    assert fleet.runs() == before
    assert fleet.findings() == {}
    assert fleet.rows("SELECT count(*) FROM lifecycle_repair") == [(0,)]
    assert "No difference" in fleet.stack.manage("rebuild_metering", "--check")


def test_after_the_restore_of_an_old_backup_the_record_follows_the_hosts(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMPORTAL_VENV", sys.prefix)
    installation = Installation(fleet.stack.root)
    file = fleet.stack.root / "old.tar.gz"
    backup(installation, file, False, QUIET)

    # What happens since, and the backup knows nothing of.
    fleet.do(
        "vms.request_create(project, vms.VMRequest(name='late'), user=user)\n"
        "VM.objects.filter(name='halt').update(stop_grace_seconds=1)\n"
        "vms.request_action(VM.objects.get(name='halt'), Action.STOP, user=user)\n"
        "vms.request_action(VM.objects.get(name='gone'), Action.DELETE, user=user)\n"
    )
    fleet.wait(late=State.RUNNING, halt=State.TERMINATED)
    wait_until(lambda: "gone" not in fleet.states(), SECONDS, "the delete")
    before = fleet.runs()
    assert set(before) == {"keep", "late"}

    stop(fleet)
    restore(installation, file, True, QUIET)
    assert fleet.states() == dict.fromkeys(("keep", "halt", "gone"), "RUNNING")
    fleet.stack.start()

    # One right answer each: those that are off are TERMINATED, the one that runs goes on.
    fleet.wait(halt=State.TERMINATED, gone=State.TERMINATED, keep=State.RUNNING)
    late = next(d for d in fleet.host.listAllDomains() if d.name().startswith(f"vmp-{fleet.stack.installation}-late"))
    # The rest waits for a person: a guest that the record does not know, a VM whose disk is gone.
    expected = {("orphaned_domain", late.name()): "", ("missing_domain", "gone"): ""}
    wait_until(lambda: fleet.findings() == expected, SECONDS, f"the findings, {fleet.findings()} so far")
    assert fleet.runs() == before

    fleet.do(
        f"findings.choose(Finding.objects.get(kind='orphaned_domain', subject='{late.UUIDString()}',"
        " closed_at=None), Choice.ADOPT, user, project=project, name='late')\n"
        "findings.choose(Finding.objects.get(kind='missing_domain', closed_at=None), Choice.MARK_LOST, user)\n"
        "vms.request_action(VM.objects.get(name='halt'), Action.START, user=user)\n"
    )
    fleet.wait(late=State.RUNNING, halt=State.RUNNING)
    wait_until(lambda: fleet.findings() == {}, SECONDS, "the choices to be carried out")
    assert {name: fleet.runs()[name] for name in before} == before
    assert fleet.rows("SELECT lost_at IS NOT NULL FROM lifecycle_vm WHERE name = 'gone'") == [(1,)]
    assert "No difference" in fleet.stack.manage("rebuild_metering", "--check")
