"""Real guests from images that came in by the product: a Linux from an imported disk, and one that is not Linux.

Memtest86+ 6 (Debian's package `memtest86+`) is a program of its own without an operating system: it starts from its ISO
by UEFI, and paints a blue screen with a white headline. Its pixels are looked at through libvirt.
"""

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import pytest
from PIL import Image as Picture
from pytest_django import Settings

from lifecycle.domain.imports import GIB
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.drivers.base import Pool
from lifecycle.imaging import importing
from lifecycle.models import VM, Host, Image, ImageImport, MachineType, Project, User
from lifecycle.operations import hosts
from lifecycle.services import image_imports
from lifecycle.services.image_imports import ImportRequest
from lifecycle.services.vms import set_cdrom
from tests import factories
from tests.conftest import REAL_HOST_URI
from tests.imaging.web_of_images import Publisher, served
from tests.operations.faults import Proxy
from tests.operations.scene import Scene

pytestmark = [
    pytest.mark.guest,
    pytest.mark.libvirt,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
]

MEMTEST = Path("/usr/lib/memtest86+/memtest86+x64.iso")
BOOT_SECONDS = 300
NVRAM = Path("/var/lib/libvirt/qemu/nvram")


@pytest.fixture
def scene(
    tmp_path: Path,
    settings: Settings,
    project: Project,
    owner: User,
    real_host: Host,
    machine_type: MachineType,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """A VM can be asked for on this machine; images may be fetched from loopback."""
    settings.IMAGE_STORE = tmp_path
    settings.IMAGE_IMPORT_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    proxy = Proxy(hosts.connect(REAL_HOST_URI))
    monkeypatch.setattr(hosts, "connect", lambda _uri: proxy)
    return Scene(project, owner, real_host, proxy)


def imported(scene: Scene, content: bytes, name: str, **facts: Any) -> Image:
    """The image, brought in from a web server by a worker."""
    with served(Publisher(content)) as publisher:
        digest = hashlib.sha256(content).hexdigest()
        request = ImportRequest(name, url=publisher.url, sha256=digest, min_memory_mib=96, **facts)
        row = image_imports.request_import(scene.project, request, user=scene.owner, file_max=GIB)
        importing.run(row.pk)
    row = ImageImport.objects.get(pk=row.pk)
    assert row.image is not None, row.error
    return row.image


def until(what: str, look: Callable[[], bool]) -> None:
    end = time.monotonic() + BOOT_SECONDS
    while not look():
        assert time.monotonic() < end, f"not within {BOOT_SECONDS} s: {what}"
        time.sleep(1)


def test_a_guest_boots_from_an_imported_image(scene: Scene, tiny_image_file: Path) -> None:
    imported(scene, tiny_image_file.read_bytes(), "my-tiny")
    scene.finish(scene.ask(Action.CREATE, image="my-tiny"))
    assert scene.state is State.RUNNING
    read = scene.proxy._real.read_volume
    until("ready", lambda: b"VMPORTAL-READY" in read(Pool.SERIAL, scene.vm.serial_volume, 0, 1 << 20))
    scene.do(Action.DELETE)


@pytest.mark.skipif(not MEMTEST.exists(), reason="Debian's package memtest86+ is not installed")
def test_a_guest_that_is_not_linux_boots_by_uefi_from_an_imported_cd(scene: Scene) -> None:
    factories.make_machine_type("roomy", memory_mib=256)
    cd = imported(scene, MEMTEST.read_bytes(), "memtest", firmware="uefi")
    assert (cd.kind, cd.firmware) == ("iso", "uefi")
    scene.finish(scene.ask(Action.CREATE, image="memtest", machine_type="roomy", disk_gib=1))
    assert scene.state is State.RUNNING
    conn = libvirt.open(REAL_HOST_URI)
    try:
        domain = conn.lookupByUUID(scene.vm.id.bytes)
        until("memtest's blue screen", lambda: blue_share(conn, domain) > 0.5)
    finally:
        conn.close()
    variables = NVRAM / f"{scene.vm.domain_name}_VARS.fd"
    assert variables.exists()
    set_cdrom(scene.vm, None, user=scene.owner)
    VM.objects.filter(pk=scene.vm.pk).update(stop_grace_seconds=0)
    scene.do(Action.STOP)
    scene.do(Action.START)
    assert (scene.vm.cdrom, scene.vm.next_cdrom) == (None, None)
    scene.do(Action.DELETE)
    assert not variables.exists()


def blue_share(conn: Any, domain: Any) -> float:
    """How much of the guest's screen is blue."""
    stream = conn.newStream(0)
    domain.screenshot(stream, 0, 0)
    data = b""
    while chunk := stream.recv(1 << 20):
        data += chunk
    stream.finish()
    picture = Picture.open(io.BytesIO(data)).convert("RGB").resize((160, 120))
    pixels = list(picture.getdata())
    blue = [1 for r, g, b in pixels if b > 100 and r < 90 and g < 90]
    return len(blue) / len(pixels)
