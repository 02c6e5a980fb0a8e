"""A real host for the whole run, under an installation id of the run's own; all it made is removed at the end."""

import hashlib
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lifecycle.domain.errors import HypervisorError
from lifecycle.drivers.base import ImageRef, Pool
from lifecycle.drivers.libvirt import LibvirtHypervisor, connect
from lifecycle.drivers.libvirt.names import pool_path
from tests.drivers.lab import BOOT_SECONDS, Guest, domain_spec, forget_network, network_spec, prepare, wait_for
from tests.stack import HOST_URI, clean_host


@pytest.fixture(scope="session")
def own_id() -> str:
    """The installation id of this run."""
    return secrets.token_hex(3)


@pytest.fixture(scope="session")
def driver(own_id: str) -> Iterator[LibvirtHypervisor]:
    """This machine's hypervisor with the pools laid out."""
    try:
        hypervisor = connect(HOST_URI, own_id)
    except HypervisorError as error:
        pytest.skip(f"no libvirtd: {error}")
    try:
        hypervisor.ensure_pools()
        yield hypervisor
    finally:
        hypervisor.close()
        clean_host(own_id)
        with suppress(OSError):  # libvirt removes its pools' directories, not the one around them; root may
            Path(pool_path(own_id, Pool.DISKS)).parent.rmdir()


@pytest.fixture(scope="session")
def image(tiny_image_file: Path) -> ImageRef:
    """The tiny guest image as the product knows it."""
    content = tiny_image_file.read_bytes()
    return ImageRef(tiny_image_file.name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="session")
def golden(driver: LibvirtHypervisor, image: ImageRef, tiny_image_file: Path) -> ImageRef:
    """The image, uploaded."""
    driver.upload_image(image, tiny_image_file, lambda: None)
    return image


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ssh key; the public one lies beside it."""
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)], check=True)
    return path


class Guests:
    """Starts guests and waits until they answer."""

    def __init__(self, host: LibvirtHypervisor, image: ImageRef, key: Path) -> None:
        self.host, self.image, self.key = host, image, key

    def start(self, *guests: Guest) -> None:
        """Start guests side by side."""
        public = self.key.with_suffix(".pub").read_text().strip()
        for guest in guests:
            prepare(self.host, guest.spec, self.image, public)
            self.host.start(guest.spec.uuid)
        for guest in guests:
            wait_for(guest.answers, BOOT_SECONDS, f"answer of {guest.spec.vm_name}", every=0.5)


@pytest.fixture(scope="session")
def guests(driver: LibvirtHypervisor, golden: ImageRef, key: Path) -> Guests:
    """Guests of the tiny image."""
    return Guests(driver, golden, key)


@pytest.fixture(scope="module")
def guest(driver: LibvirtHypervisor, guests: Guests, own_id: str, request: pytest.FixtureRequest) -> Iterator[Guest]:
    """One running guest for a module, in a network of its own; the tests leave it running."""
    name = request.module.__name__.rsplit("_", 1)[-1][:8]
    made = Guest(domain_spec(own_id, network_spec(own_id, name[:3]), name), guests.key)
    guests.start(made)
    yield made
    driver.destroy(made.spec.uuid)
    driver.undefine(made.spec.uuid)
    forget_network(driver, made.spec.network.name)
