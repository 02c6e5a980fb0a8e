"""What tests of every layer share: people, a project, a zone, a host, an image; and a real host with a real image.

The rows of `project` and its neighbours are small and independent: a test asks for those it names. Tests that
use threads, real connections or commit hooks ask for `transactional_db` before them.
"""

from __future__ import annotations

import copy
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from django.conf import settings as project_settings
from hypothesis.configuration import set_hypothesis_home_dir
from pytest_django import Settings

from lifecycle.domain.access import Role
from lifecycle.models import Host, Image, MachineType, Project, User, Zone
from tests import factories

if TYPE_CHECKING:
    from tests.realtime.servers import RedisServer

CHECKOUT = Path(__file__).resolve().parent.parent
REAL_HOST_URI = "qemu:///system"

# How long an example takes says how busy the machine is. The same examples each time: what a run finds is found by all.
hypothesis.settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")

if "HYPOTHESIS_STORAGE_DIRECTORY" not in os.environ:
    set_hypothesis_home_dir(CHECKOUT / "var" / "cache" / "hypothesis")


@pytest.fixture(scope="session", autouse=True)
def _static_folder() -> None:
    """Nothing is collected for tests; WhiteNoise warns of a folder that is not there all the same."""
    project_settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)


@pytest.fixture(autouse=True)
def installation(settings: Settings) -> str:
    """An installation of each test's own: what it makes on a host meets no other's. Cheap passwords, mail in memory."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.INSTALLATION_ID = secrets.token_hex(3)
    return str(settings.INSTALLATION_ID)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server process, for tests that may kill it."""
    from tests.realtime.servers import RedisServer

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_layer(redis_server: RedisServer, settings: Settings) -> RedisServer:
    """The settings name that Redis, which runs and is empty."""
    if redis_server.process is None:
        redis_server.start()
    redis_server.empty()
    layers = copy.deepcopy(settings.CHANNEL_LAYERS)
    layers["default"]["CONFIG"]["hosts"][0]["address"] = redis_server.url
    settings.CHANNEL_LAYERS = layers
    return redis_server


# -- people --------------------------------------------------------------------------------------


@pytest.fixture
def owner(db: None) -> User:
    """Olivia owns `project`."""
    return factories.make_user("olivia")


@pytest.fixture
def operator(db: None) -> User:
    """Otto may use the VMs of `project`, but not its members."""
    return factories.make_user("otto")


@pytest.fixture
def viewer(db: None) -> User:
    """Vera may look at `project`."""
    return factories.make_user("vera")


@pytest.fixture
def stranger(db: None) -> User:
    """Steve has a project of his own and nothing to do with `project`."""
    user = factories.make_user("steve")
    factories.make_project("elsewhere", owner=user)
    return user


@pytest.fixture
def superuser(db: None) -> User:
    """Ada runs the site."""
    return factories.make_user("ada", is_staff=True, is_superuser=True)


# -- rows ----------------------------------------------------------------------------------------


@pytest.fixture
def project(owner: User, operator: User, viewer: User) -> Project:
    """The project `lab`, with an owner, an operator and a viewer."""
    made = factories.make_project("lab", owner=owner)
    factories.add_member(made, operator, Role.OPERATOR)
    factories.add_member(made, viewer, Role.VIEWER)
    return made


@pytest.fixture
def zone(db: None) -> Zone:
    """The zone `zone-a`."""
    return factories.make_zone()


@pytest.fixture
def host(zone: Zone) -> Host:
    """A host in `zone` that is up and roomy; nothing answers at its URI."""
    return factories.make_host("host-1", zone=zone)


@pytest.fixture
def machine_type(db: None) -> MachineType:
    """The default machine type, `tiny-1`: 1 vCPU, 128 MiB."""
    return factories.make_machine_type("tiny-1", is_default=True)


@pytest.fixture
def image(db: None) -> Image:
    """A READY image row, `tiny`, without a file."""
    return factories.make_image("tiny")


@pytest.fixture
def catalog(zone: Zone, machine_type: MachineType, image: Image) -> None:
    """All that a request to create a VM refers to by default."""


# -- a real host ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tiny_image_file() -> Path:
    """The smallest bootable image that was built here; `./portal test` builds it first."""
    from django.conf import settings

    stores = (settings.IMAGE_STORE, CHECKOUT / "var" / "images")
    built = [path for store in stores for path in store.glob("tiny-*.qcow2")]
    if not built:
        pytest.skip("no guest image: run ./portal manage build_image tiny")
    return max(built, key=lambda path: path.stat().st_mtime)


@pytest.fixture
def real_image(tiny_image_file: Path, settings: Settings, db: None) -> Image:
    """The row of the tiny image, whose file is real."""
    import hashlib

    settings.IMAGE_STORE = tiny_image_file.parent
    with tiny_image_file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return factories.make_image(
        "tiny",
        file_name=tiny_image_file.name,
        size_bytes=tiny_image_file.stat().st_size,
        sha256=digest,
        min_memory_mib=80,
    )


@pytest.fixture
def real_host(installation: str, zone: Zone) -> Iterator[Host]:
    """This machine's libvirt as a host, under an installation of this test; all it made is removed afterwards."""
    from lifecycle.operations.hosts import connect
    from tests.stack import clean_host

    try:
        hypervisor = connect(REAL_HOST_URI)
        seen = hypervisor.inventory()
        hypervisor.ensure_pools()
        yield factories.make_host(
            "this-machine",
            zone=zone,
            uri=REAL_HOST_URI,
            vcpus_total=max(2, seen.cpus),
            memory_mib_total=max(4096, seen.memory_mib),
            disk_gib_total=max(100, seen.disk_gib),
        )
    finally:
        clean_host(installation)
