"""Create, start and stop through the product against raw libvirt on the same guest, in the same run."""

import time
import uuid
from collections.abc import Callable

import libvirt
from lxml import etree

from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Operation, Project, User
from lifecycle.services import vms
from tests.bench.figures import Row, timed
from tests.stack import HOST_URI, wait_until


def ended(operation: Operation, seconds: float = 60) -> float:
    """Wait for an operation; from request received to result committed, in ms."""
    row = Operation.objects.filter(pk=operation.pk, status=Operation.Status.DONE)
    wait_until(row.exists, seconds, f"{operation}", every=0.005)
    operation.refresh_from_db()
    if operation.error:
        raise RuntimeError(f"{operation}: {operation.error}")
    assert operation.end_time is not None
    return (operation.end_time - operation.insert_time).total_seconds() * 1000


def create(project: Project, user: User, name: str) -> tuple[VM, float]:
    """A new VM, RUNNING; stop is forced at once so that the guest's own pace is not measured."""
    request = vms.VMRequest(name=name, stop_grace_seconds=0)
    operation = vms.request_create(project, request, user=user)
    return operation.vm, ended(operation)


def act(vm: VM, action: Action, user: User) -> float:
    """An action through the product, in ms."""
    return ended(vms.request_action(vm, action, user=user))


class RawGuest:
    """A twin of a product's VM, driven by plain libvirt calls: same XML, own name, disk and address."""

    def __init__(self, model: VM) -> None:
        self.connection = libvirt.open(HOST_URI)
        tree = etree.fromstring(
            self.connection.lookupByUUIDString(str(model.id)).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        )
        name = tree.findtext("name")
        assert name is not None
        self.name = f"{name}-raw"
        _set(tree, "name", self.name)
        _set(tree, "uuid", str(uuid.uuid4()))
        mac = tree.find(".//interface/mac")
        assert mac is not None
        mac.set("address", "52:54:00:ff:ff:01")
        sources = [source for source in tree.iterfind(".//disk/source") if source.get("file")]
        self.boot, self.seed = (str(source.get("file")) for source in sources)
        self.raw_boot = self.boot.replace(".qcow2", "-raw.qcow2")
        sources[0].set("file", self.raw_boot)
        self.xml = etree.tostring(tree, encoding="unicode")
        self.pool = self.connection.storageVolLookupByPath(self.boot).storagePoolLookupByVolume()
        self.overlay_xml = self._overlay_xml()

    def _overlay_xml(self) -> str:
        tree = etree.fromstring(self.connection.storageVolLookupByPath(self.boot).XMLDesc())
        _set(tree, "name", self.raw_boot.rsplit("/", 1)[1])
        for tag in ("key", "allocation", "physical"):
            for found in tree.findall(tag):
                tree.remove(found)
        target = tree.find("target")
        assert target is not None
        for child in list(target):
            if child.tag != "format":
                target.remove(child)
        return etree.tostring(tree, encoding="unicode")

    def make_disk(self) -> None:
        """The linked clone."""
        self.pool.createXML(self.overlay_xml)

    def define_and_start(self) -> None:
        """What a cold start is in libvirt."""
        self.connection.defineXML(self.xml).create()

    def create(self) -> None:
        """Clone, define and start."""
        self.make_disk()
        self.define_and_start()

    def destroy(self) -> None:
        """Force off."""
        self.connection.lookupByName(self.name).destroy()

    def remove(self) -> None:
        """Undefine and delete the disk."""
        self.connection.lookupByName(self.name).undefine()
        self.connection.storageVolLookupByPath(self.raw_boot).delete()


def _set(tree: etree._Element, tag: str, text: str) -> None:
    found = tree.find(tag)
    assert found is not None
    found.text = text


def run(project: Project, user: User, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """The three rows. Product and floor take turns, so that a drift of the machine hits both."""
    vm, _first = create(project, user, "bench-model")
    raw = RawGuest(vm)
    act(vm, Action.STOP, user)
    ours: dict[str, list[float]] = {"create": [], "start": [], "stop": []}
    floor: dict[str, list[float]] = {"create": [], "start": [], "stop": []}
    for number in range(rounds):
        say(f"guests: round {number + 1} of {rounds}")
        floor["create"].append(timed(raw.create))
        time.sleep(0.3)
        floor["stop"].append(timed(raw.destroy))
        floor["start"].append(timed(raw.define_and_start))
        time.sleep(0.3)
        floor["stop"].append(timed(raw.destroy))
        raw.remove()
        made, milliseconds = create(project, user, f"bench-{number}")
        ours["create"].append(milliseconds)
        time.sleep(0.3)
        ours["stop"].append(act(made, Action.STOP, user))
        ours["start"].append(act(made, Action.START, user))
        time.sleep(0.3)
        ours["stop"].append(act(made, Action.STOP, user))
        act(made, Action.DELETE, user)
    act(vm, Action.DELETE, user)
    return [
        Row("create → RUNNING", ours["create"], floor["create"], "raw clone + define + start"),
        Row("start → RUNNING", ours["start"], floor["start"], "raw define + start"),
        Row("stop (forced) → TERMINATED", ours["stop"], floor["stop"], "raw destroy"),
    ]
