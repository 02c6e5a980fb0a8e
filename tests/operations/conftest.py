"""Operations on a host of libvirt's test driver, behind a libvirtd of the tests' own."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest
from pytest_django import Settings

from lifecycle.drivers.libvirt import connect, hypervisors
from lifecycle.drivers.libvirt.opening import KeepAlive
from lifecycle.models import Host, Image, MachineType, Project, User, Zone
from lifecycle.operations import engine, hosts
from lifecycle.operations.leases import Keeper
from tests import factories
from tests.operations.faults import Proxy
from tests.operations.private_libvirtd import PrivateLibvirtd
from tests.operations.scene import Scene


@pytest.fixture(scope="session")
def private_libvirtd() -> Iterator[PrivateLibvirtd]:
    """The daemon, and a connection that keeps its test driver's state."""
    with tempfile.TemporaryDirectory(prefix="vmp-ops-") as directory:
        Path(directory).chmod(0o755)
        daemon = PrivateLibvirtd(Path(directory) / "libvirtd")
        try:
            daemon.start()
            kept = connect(daemon.uri, "000000", keepalive=KeepAlive(60, 10))  # tests let the daemon hang
            yield daemon
            kept.close()
            hypervisors.close()
        finally:
            daemon.stop()


class QuietKeeper(Keeper):
    """Renews nothing: its thread would not see what was written in the test's transaction, and call the leases lost."""

    def _run(self) -> None:
        return


@pytest.fixture
def quiet_keeper(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases outlast the test, and no thread renews them."""
    settings.OPERATION_LEASE_SECONDS = 3600
    monkeypatch.setattr(engine, "keeper", QuietKeeper())


@pytest.fixture
def test_host(private_libvirtd: PrivateLibvirtd, installation: str, zone: Zone) -> Iterator[Host]:
    """A host of the test driver under an installation of this test; what it made is removed afterwards."""
    host = factories.make_host("test-host", zone=zone, uri=private_libvirtd.uri, domain_type="test")
    yield host
    _clean(private_libvirtd.uri, installation)


def _clean(uri: str, installation: str) -> None:
    conn = libvirt.open(uri)
    mine = f"vmp-{installation}"
    for domain in conn.listAllDomains():
        if domain.name().startswith(mine):
            with suppress(libvirt.libvirtError):
                domain.destroy()
            with suppress(libvirt.libvirtError):
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
    for thing in (*conn.listAllStoragePools(), *conn.listAllNetworks()):
        if thing.name().startswith(mine):
            with suppress(libvirt.libvirtError):
                thing.destroy()
            with suppress(libvirt.libvirtError):
                thing.undefine()
    conn.close()


@pytest.fixture
def small_image(tmp_path: Path, settings: Settings, db: None) -> Image:
    """An image whose file is there and small; the test driver keeps its size alone."""
    settings.IMAGE_STORE = tmp_path
    (tmp_path / "small.qcow2").write_bytes(b"\0" * 4096)
    return factories.make_image("small", file_name="small.qcow2", size_bytes=4096, virtual_size_bytes=4096)


@pytest.fixture
def proxy(test_host: Host, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The way to the host, in which faults can be put."""
    made = Proxy(hosts.connect(test_host.uri))
    monkeypatch.setattr(hosts, "connect", lambda _uri: made)
    return made


@pytest.fixture(autouse=True)
def _no_hook_stays() -> Iterator[None]:
    yield
    engine.after_effect = None


@pytest.fixture
def scene(
    quiet_keeper: None,
    project: Project,
    owner: User,
    test_host: Host,
    small_image: Image,
    machine_type: MachineType,
    proxy: Proxy,
) -> Scene:
    """A VM can be asked for, and an empty host waits for it."""
    return Scene(project, owner, test_host, proxy)
