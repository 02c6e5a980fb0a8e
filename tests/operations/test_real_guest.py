"""A representative of the matrix on a real host: QEMU, real disks, real DHCP reservations, a guest that boots."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import pytest
from lxml import etree

from lifecycle.domain.errors import Broken
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.drivers.base import Pool
from lifecycle.models import Host, Image, MachineType, Operation, Project, User
from lifecycle.operations import engine, hosts, registry
from tests.conftest import REAL_HOST_URI
from tests.operations.faults import Proxy, after_effect, changed, die, failing, run_and_die
from tests.operations.scene import EMPTY, ENDS_IN, Scene

pytestmark = [
    pytest.mark.guest,
    pytest.mark.libvirt,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
]

#: A boot takes some five seconds on an idle machine; other tests may keep it busy.
BOOT_SECONDS = 240


@pytest.fixture
def scene(
    project: Project,
    owner: User,
    real_host: Host,
    real_image: Image,
    machine_type: MachineType,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """A VM can be asked for on this machine."""
    proxy = Proxy(hosts.connect(REAL_HOST_URI))
    monkeypatch.setattr(hosts, "connect", lambda _uri: proxy)
    return Scene(project, owner, real_host, proxy)


@pytest.fixture
def raw(installation: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """All of the installation that libvirt has, as virsh sees it; the image and the network itself apart."""
    conn = libvirt.open(REAL_HOST_URI)
    mine = f"vmp-{installation}"

    def look() -> dict[str, Any]:
        networks = [n for n in conn.listAllNetworks() if n.name().startswith(mine)]
        pools = [p for p in conn.listAllStoragePools() if p.name().startswith(mine) and not p.name().endswith("images")]
        for pool in pools:
            pool.refresh()
        domains = [d for d in conn.listAllDomains() if d.name().startswith(mine)]
        return {
            "domains": sorted(d.name() for d in domains),
            "saved": sorted(d.name() for d in domains if d.hasManagedSaveImage()),
            "volumes": sorted(name for pool in pools for name in pool.listVolumes()),
            "filters": sorted(f.name() for f in conn.listAllNWFilters() if f.name().startswith(mine)),
            "bindings": sorted(
                h.get("ip", "") for n in networks for h in etree.fromstring(n.XMLDesc()).iterfind("ip/dhcp/host")
            ),
        }

    yield look
    conn.close()


Look = Callable[[], dict[str, Any]]


def boots(scene: Scene) -> None:
    """Wait until the guest says that it is up."""
    end = time.monotonic() + BOOT_SECONDS
    while b"VMPORTAL-READY" not in scene.proxy._real.read_volume(Pool.SERIAL, scene.vm.serial_volume, 0, 1 << 20):
        assert time.monotonic() < end, "the guest did not boot"
        time.sleep(0.2)


def test_the_whole_life_of_a_vm_leaves_nothing_behind(scene: Scene, raw: Look) -> None:
    before = raw()
    scene.do(Action.CREATE)
    scene.assert_at_rest(State.RUNNING)
    assert len(raw()["bindings"]) == len(raw()["filters"]) == len(raw()["domains"]) == 1
    boots(scene)
    scene.do(Action.SUSPEND)
    scene.assert_at_rest(State.SUSPENDED)
    assert raw()["saved"]
    scene.do(Action.RESUME)
    scene.assert_at_rest(State.RUNNING)
    assert not raw()["saved"]
    guest_shuts_down(scene)
    scene.do(Action.START)
    scene.do(Action.RESET)
    scene.assert_at_rest(State.RUNNING)
    scene.do(Action.DELETE)
    scene.assert_at_rest(None)
    assert raw() == before


def guest_shuts_down(scene: Scene) -> None:
    """A booted guest hears the power button and is not forced."""
    scene.proxy.calls.clear()
    operation = scene.ask(Action.STOP)
    end = time.monotonic() + scene.vm.stop_grace_seconds
    while not operation.is_done:
        assert time.monotonic() < end, "the guest did not shut down"
        scene.make_due(operation)
        run_once(operation)
        time.sleep(0.2)
    scene.assert_at_rest(State.TERMINATED)
    assert "destroy" not in scene.proxy.calls
    assert scene.vm.state_reason == ""


def run_once(operation: Operation) -> None:
    """One run, as a worker does it."""
    engine.run(operation.pk)
    operation.refresh_from_db()


@pytest.mark.parametrize("index", range(len(registry.DEFINITIONS["create"].steps)))
def test_a_create_that_fails_after_any_step_leaves_nothing(
    scene: Scene, raw: Look, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    before = raw()
    monkeypatch.setitem(registry.DEFINITIONS, "create", changed("create", index, failing(Broken("no"), after=True)))
    operation = scene.finish(scene.ask(Action.CREATE))
    assert operation.error
    assert scene.state is None
    assert scene.inventory() == EMPTY
    assert raw() == before


@pytest.mark.parametrize(
    ("action", "index"),
    [(Action.CREATE, 3), (Action.CREATE, 6), (Action.SUSPEND, 0), (Action.RESUME, 2), (Action.DELETE, 0)],
)
def test_a_worker_that_dies_in_the_middle_is_replaced(scene: Scene, action: Action, index: int) -> None:
    operation = scene.begin(action)
    after_effect(index, die)
    assert run_and_die(operation)
    scene.expire_lease(operation)
    scene.finish(operation)
    assert operation.error is None
    scene.assert_at_rest(ENDS_IN[action])


def test_a_suspend_that_fails_after_saving_leaves_the_guest_running(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.do(Action.CREATE)
    monkeypatch.setitem(registry.DEFINITIONS, "suspend", changed("suspend", 0, failing(Broken("no"), after=True)))
    scene.finish(scene.ask(Action.SUSPEND))
    scene.assert_at_rest(State.RUNNING)


def test_a_suspended_vm_is_deleted_with_its_memory(scene: Scene, raw: Look) -> None:
    before = raw()
    scene.bring_to(State.SUSPENDED)
    scene.do(Action.DELETE)
    assert raw() == before


def test_a_stop_during_a_resume_keeps_the_memory(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    resume = scene.ask(Action.RESUME)
    successors: list[Operation] = []
    after_effect(2, lambda _operation: successors.append(scene.ask(Action.STOP)))
    run_once(resume)
    assert scene.power is Power.ON
    scene.finish(successors[0])
    scene.assert_at_rest(State.SUSPENDED)


def test_a_guest_whose_qemu_died_is_repaired(scene: Scene) -> None:
    scene.do(Action.CREATE)
    scene.do(Action.REPAIR)
    scene.assert_at_rest(State.RUNNING)
