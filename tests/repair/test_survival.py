"""An old backup is put back, or an older database is upgraded, while real guests run: they go on, and are found."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import libvirt
import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from lifecycle.domain.findings import Choice
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Finding, Host, MachineType, MeteringInterval, Operation, Project, Repair, User
from lifecycle.operations import engine, hosts
from lifecycle.repair.reconcile import Result, reconcile
from lifecycle.services import findings, metering, restored
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests.operations import conftest as operations
from vmportal.launcher.databases import SQLite

private_libvirtd, test_host, small_image = operations.private_libvirtd, operations.test_host, operations.small_image

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "sqlite", reason="here the database is a file; PostgreSQL's way is launcher's"
    ),
]

SECONDS = 120
BEFORE_METERING = "0002"


class Fleet:
    """VMs of a project on this machine's libvirt."""

    def __init__(self, project: Project, owner: User, host: Host, directory: Path) -> None:
        self.project, self.owner, self.host = project, owner, host
        self.backup = directory / "backup.sqlite3"
        self.raw = libvirt.open(host.uri)

    def create(self, name: str) -> VM:
        self._finish(request_create(self.project, VMRequest(name=name), user=self.owner))
        VM.objects.filter(name=name).update(stop_grace_seconds=1)
        return VM.objects.get(name=name, deleted_at=None)

    def do(self, name: str, action: Action) -> None:
        self._finish(request_action(VM.objects.get(name=name, deleted_at=None), action, user=self.owner))

    def _finish(self, operation: Operation) -> None:
        """As a worker does, without waiting for its turn."""
        end = time.monotonic() + SECONDS
        while not operation.is_done:
            assert time.monotonic() < end, [(s.name, s.status, s.detail) for s in operation.steps.all()]
            Operation.objects.filter(pk=operation.pk).update(due_at=timezone.now())
            engine.run(operation.pk)
            operation.refresh_from_db()
            time.sleep(0.05)
        assert operation.error is None, operation.error

    def reconcile(self) -> Result:
        return reconcile(self.host.pk, hosts.connect(self.host.uri))

    def states(self) -> dict[str, str]:
        return dict(VM.objects.live().values_list("name", "state"))

    def runs(self) -> dict[str, int]:
        """libvirt's number of each running guest by the VM's id: another after each start."""
        ours = {str(pk) for pk in VM.objects.filter(project=self.project).values_list("pk", flat=True)}
        active = [domain for domain in self.raw.listAllDomains() if domain.isActive()]
        return {domain.UUIDString(): domain.ID() for domain in active if domain.UUIDString() in ours}

    def save(self) -> None:
        """What `./portal backup` does with the database."""
        SQLite(Path(connection.settings_dict["NAME"])).copy(self.backup)

    def put_back(self) -> None:
        """What `./portal restore` does with it."""
        database = connection.settings_dict["NAME"]
        connections.close_all()
        with closing(sqlite3.connect(self.backup)) as source, closing(sqlite3.connect(database)) as target:
            source.backup(target)
        restored.settle()


@pytest.fixture(params=["test driver", pytest.param("qemu", marks=pytest.mark.guest)])
def fleet(
    request: pytest.FixtureRequest, project: Project, owner: User, machine_type: MachineType, tmp_path: Path
) -> Iterator[Fleet]:
    """On libvirt's test driver, quickly; and with real guests."""
    real = request.param == "qemu"
    host: Host = request.getfixturevalue("real_host" if real else "test_host")
    request.getfixturevalue("real_image" if real else "small_image")
    if not real:  # each disk of the test driver has 1 TiB
        type(project.quota).objects.update(disk_gib=9000)
        type(host).objects.update(disk_gib_total=9000)
    made = Fleet(project, owner, host, tmp_path)
    yield made
    made.raw.close()


@pytest.fixture
def latest() -> Iterator[None]:
    """Whatever happens, the tests after this one find the database of today."""
    yield
    call_command("migrate", "lifecycle", verbosity=0)


def open_findings() -> dict[str, str]:
    """kind -> subject, of what waits and is ours: other tests' and people's domains are on this machine too."""
    rows = Finding.objects.filter(closed_at__isnull=True).exclude(kind__in=["foreign_domain", "unknown_volume"])
    return dict(rows.values_list("kind", "subject"))


def test_after_the_restore_of_an_old_backup_the_record_follows_the_host(fleet: Fleet) -> None:
    keep, _halt, gone = (fleet.create(name) for name in ("keep", "halt", "gone"))
    fleet.save()
    # What happens since, and the backup knows nothing of.
    late = fleet.create("late")
    address = late.address.ip
    fleet.do("halt", Action.STOP)
    fleet.do("gone", Action.DELETE)
    before = fleet.runs()
    assert set(before) == {str(keep.pk), str(late.pk)}
    fleet.put_back()
    assert fleet.states() == dict.fromkeys(("keep", "halt", "gone"), "RUNNING")

    # One right answer each: what is off is TERMINATED, what runs goes on.
    fleet.reconcile()
    fleet.reconcile()
    assert fleet.states() == {"keep": "RUNNING", "halt": "TERMINATED", "gone": "TERMINATED"}
    assert not Repair.objects.exists()
    # The rest waits for a person: a guest that the record does not know, a VM of which nothing is left.
    assert open_findings() == {"orphaned_domain": str(late.pk), "missing_domain": str(gone.pk)}
    assert fleet.create("next").address.ip != address

    orphan, missing = Finding.objects.get(kind="orphaned_domain"), Finding.objects.get(kind="missing_domain")
    findings.choose(orphan, Choice.ADOPT, fleet.owner, project=fleet.project, name="late")
    findings.choose(missing, Choice.MARK_LOST, fleet.owner)
    fleet.reconcile()
    fleet.reconcile()
    assert open_findings() == {}
    fleet.do("halt", Action.START)
    assert fleet.states() == {
        "keep": "RUNNING", "late": "RUNNING", "halt": "RUNNING", "next": "RUNNING", "gone": "TERMINATED",
    }  # fmt: skip
    assert before.items() <= fleet.runs().items()
    assert VM.objects.get(name="gone").lost_at is not None
    assert metering.check().differences == 0


def test_an_older_database_is_upgraded_while_its_vms_run(fleet: Fleet, latest: None) -> None:
    """As of the version before metering: its VMs are found running, and their intervals follow from their log."""
    vm = fleet.create("keep")
    before = fleet.runs()
    call_command("migrate", "lifecycle", BEFORE_METERING, verbosity=0)
    assert MeteringInterval._meta.db_table not in connection.introspection.table_names()
    call_command("migrate", "lifecycle", verbosity=0)
    assert fleet.reconcile().counts["in_step"] == 1
    assert (fleet.states(), fleet.runs()) == ({"keep": "RUNNING"}, before)
    assert open_findings() == {}
    assert metering.check().differences == 0
    assert VM.objects.get(pk=vm.pk).power_seen_at is not None
    fleet.do("keep", Action.STOP)
    assert fleet.states() == {"keep": "TERMINATED"}
