"""A domain that others made becomes a VM without a restart, lives as one, and leaves its disk behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import libvirt
import pytest
from django.db.models import QuerySet
from pytest_django import Settings

from lifecycle.domain.errors import Transient
from lifecycle.domain.findings import Choice, Kind
from lifecycle.domain.recovery import Decision
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.drivers.base import Hypervisor, ImageRef
from lifecycle.models import VM, Finding, Host, Image, Operation, Project, Repair, Reservation, User
from lifecycle.operations.hosts import connect
from lifecycle.repair.images import look_after_images
from lifecycle.repair.reconcile import reconcile
from lifecycle.services import findings
from lifecycle.web.views.vm_actions import confirmation_of
from tests.repair.conftest import PATIENCE, Guest, Worker, wait_until

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
]

FOREIGN = """
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>96</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>
      <target dev='vda' bus='virtio'/></disk>
    <interface type='user'><mac address='52:54:00:12:34:56'/></interface>
  </devices>
</domain>"""


class Foreign(Guest):
    """A domain of others; its name has the test's prefix only so that it is removed at the end."""

    @property
    def name(self) -> str:
        """What its maker called it."""
        return str(self.domain.name())

    @property
    def qemu_pid(self) -> int:
        """The process id of its QEMU."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(b"guest=" + self.name.encode()) for word in words):
                return int(path.parent.name)
        raise LookupError(f"no QEMU of {self.name}")


@pytest.fixture
def disk(installation: str) -> Iterator[Path]:
    """A disk where others keep theirs."""
    path = Path("/var/lib/libvirt/images") / f"vmp-{installation}-theirs.img"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def foreign(
    real_host: Host, worker: Worker, conn: libvirt.virConnect, disk: Path, installation: str, superuser: User
) -> Foreign:
    """A domain that others made and started."""
    uuid = uuid4()
    conn.defineXML(FOREIGN.format(name=f"vmp-{installation}-theirs", uuid=uuid, disk=disk)).create()
    return Foreign(uuid, superuser, real_host, conn)


def look(foreign: Foreign) -> Hypervisor:
    """One reconcile of the host."""
    hypervisor = connect(foreign.host.uri)
    reconcile(foreign.host.pk, hypervisor)
    return hypervisor


def adopt(foreign: Foreign, project: Project, name: str = "found-1") -> Finding:
    """An operator adopts it into a project."""
    look(foreign)
    finding = Finding.objects.get(kind=Kind.FOREIGN_DOMAIN, subject=str(foreign.vm_id))
    findings.choose(finding, Choice.ADOPT, foreign.user, project=project, name=name)
    look(foreign)
    finding.refresh_from_db()
    return finding


def do(foreign: Foreign, action: Action) -> None:
    """Ask for an action and wait until it is done, well."""
    operation = foreign.ask(action)
    wait_until(lambda: Operation.objects.get(pk=operation.pk).is_done, PATIENCE, str(action))
    assert Operation.objects.get(pk=operation.pk).error is None, Operation.objects.get(pk=operation.pk).error


def mark_of(hypervisor: Hypervisor, uuid: UUID) -> str | None:
    """The installation in the domain's mark."""
    view = hypervisor.look(uuid)
    assert view is not None
    return view.installation


def test_a_running_domain_is_adopted_without_downtime(foreign: Foreign, project: Project, installation: str) -> None:
    pid, definition = foreign.qemu_pid, foreign.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    finding = adopt(foreign, project)
    assert finding.closed_because == "It was adopted.", finding.problem
    vm = foreign.vm
    assert (vm.name, vm.project, vm.state, vm.host, vm.adopted) == ("found-1", project, "RUNNING", foreign.host, True)
    assert (vm.vcpus, vm.memory_mib, vm.machine_type.name, vm.mac) == (1, 96, "custom-1-96", "52:54:00:12:34:56")
    (kept,) = vm.disks.all()
    assert (kept.size_gib, kept.auto_delete) == (3, False)
    assert Reservation.objects.get(vm=vm).memory_mib == 96
    assert foreign.qemu_pid == pid
    assert mark_of(connect(foreign.host.uri), vm.id) == installation
    assert definition.split("<os>")[1] == foreign.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).split("<os>")[1]
    result = reconcile(foreign.host.pk, connect(foreign.host.uri))
    assert result.counts[Decision.IN_STEP] == 1
    assert str(vm.id) not in {sighting.subject for sighting in result.findings}


def test_an_adopted_vm_lives_on_its_own_definition_and_leaves_its_disk(
    foreign: Foreign, project: Project, disk: Path
) -> None:
    adopt(foreign, project)
    VM.objects.filter(pk=foreign.vm_id).update(stop_grace_seconds=0)
    own = foreign.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    for action, state in (
        (Action.RESET, State.RUNNING),
        (Action.SUSPEND, State.SUSPENDED),
        (Action.RESUME, State.RUNNING),
        (Action.STOP, State.TERMINATED),
        (Action.START, State.RUNNING),
    ):
        do(foreign, action)
        assert foreign.state == state
    assert foreign.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == own
    confirmed = confirmation_of(foreign.vm, Action.DELETE)
    assert any("it stays on its host" in line for line in confirmed.kept)
    do(foreign, Action.DELETE)
    assert foreign.vm.deleted_at is not None
    with pytest.raises(libvirt.libvirtError):
        foreign.conn.lookupByUUIDString(str(foreign.vm_id))
    assert disk.stat().st_size == 3 * 2**30


def test_an_adopted_vm_that_crashes_is_repaired_from_its_own_definition(foreign: Foreign, project: Project) -> None:
    adopt(foreign, project)
    pid = foreign.qemu_pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not foreign.domain.isActive(), PATIENCE, "libvirt to notice")
    look(foreign)
    foreign.becomes(State.RUNNING)
    assert foreign.qemu_pid != pid
    evidence = Repair.objects.get(vm=foreign.vm_id).qemu_log
    assert "qemu-system-x86_64" in evidence, "its log has the name that its maker gave it"


def test_a_stopped_domain_is_adopted_as_it_is(foreign: Foreign, project: Project) -> None:
    foreign.domain.destroy()
    adopt(foreign, project)
    held = Reservation.objects.get(vm=foreign.vm_id)
    assert (foreign.state, held.vcpus, held.memory_mib, held.disk_gib) == (State.TERMINATED, 0, 0, 3)
    do(foreign, Action.START)
    assert foreign.state == State.RUNNING


def test_an_adoption_that_is_cut_short_is_finished_by_the_next_reconcile(
    foreign: Foreign, project: Project, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_args: object, **_kwargs: object) -> None:
        raise Transient("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr("lifecycle.drivers.libvirt.connection.LibvirtHypervisor.mark", die)
        assert adopt(foreign, project).closed_at is None
    hypervisor = connect(foreign.host.uri)
    assert (foreign.state, mark_of(hypervisor, foreign.vm_id)) == (State.RUNNING, None)
    look(foreign)
    assert mark_of(hypervisor, foreign.vm_id) == installation
    look(foreign)
    assert not Finding.objects.filter(subject=str(foreign.vm_id), closed_at__isnull=True).exists()


def test_what_was_done_to_an_adopted_domain_is_accepted(foreign: Foreign, project: Project) -> None:
    adopt(foreign, project)
    foreign.domain.setVcpusFlags(2, libvirt.VIR_DOMAIN_AFFECT_CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
    foreign.domain.setVcpusFlags(2, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    foreign.conn.defineXML(foreign.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))  # setvcpus alone tells no event
    wait_until(lambda: bool(look(foreign)) and _changed(foreign).exists(), PATIENCE, "the finding")
    finding = _changed(foreign).get()
    assert findings.choices(finding) == (Choice.ACCEPT, Choice.IGNORE)
    findings.choose(finding, Choice.ACCEPT, foreign.user)
    look(foreign)
    assert (foreign.vm.vcpus, foreign.vm.machine_type.name) == (2, "custom-2-96")
    look(foreign)
    assert not _changed(foreign).exists()


def _changed(foreign: Foreign) -> QuerySet[Finding]:
    return Finding.objects.filter(kind=Kind.CHANGED_DEFINITION, vm=foreign.vm_id, closed_at__isnull=True)


def test_an_adopted_domain_that_is_gone_can_only_be_declared_lost(foreign: Foreign, project: Project) -> None:
    adopt(foreign, project)
    foreign.domain.destroy()
    foreign.domain.undefine()
    look(foreign)
    finding = Finding.objects.get(kind=Kind.MISSING_DOMAIN)
    assert findings.choices(finding) == (Choice.MARK_LOST, Choice.IGNORE)
    findings.choose(finding, Choice.MARK_LOST, foreign.user)
    look(foreign)
    assert (foreign.state, foreign.vm.state_reason) == (State.TERMINATED, findings.LOST)


# -- golden images ---------------------------------------------------------------------------------


def test_a_damaged_image_is_found_once_a_day_and_uploaded_again(
    real_host: Host, real_image: Image, worker: Worker, superuser: User, settings: Settings
) -> None:
    hypervisor = connect(real_host.uri)
    ref = ImageRef(real_image.file_name, real_image.size_bytes, real_image.sha256)
    hypervisor.upload_image(ref, settings.IMAGE_STORE / real_image.file_name, lambda: None)
    path = Path(f"/var/lib/libvirt/vmportal/{settings.INSTALLATION_ID}/images") / real_image.file_name
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"damage")
    assert look_after_images(real_host.pk, "one") == real_image.file_name
    finding = Finding.objects.get(kind=Kind.BAD_IMAGE)
    assert finding.details["recorded"] == real_image.sha256 != finding.details["found"]
    assert look_after_images(real_host.pk, "two") is None, "not again today"
    reconcile(real_host.pk, hypervisor)
    finding.refresh_from_db()
    assert finding.closed_at is None, "a reconcile did not look at it"
    findings.choose(finding, Choice.RESTORE, superuser)
    look_after_images(real_host.pk, "three")
    finding.refresh_from_db()
    assert finding.closed_because == "The image was uploaded again."
    assert hypervisor.image_sha256(ref, lambda: None) == real_image.sha256
