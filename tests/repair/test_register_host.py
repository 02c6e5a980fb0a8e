"""`manage.py register_host`: from a name and a URI to a host that takes VMs."""

from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command

from lifecycle.models import Host, Zone
from tests.conftest import REAL_HOST_URI
from tests.stack import clean_host

pytestmark = [pytest.mark.libvirt, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def clean(installation: str) -> Iterator[str]:
    """An installation that leaves nothing on the machine."""
    yield installation
    clean_host(installation)


def register(*words: str) -> None:
    """Run the command."""
    call_command("register_host", *words)


def test_a_host_is_described_judged_and_up(clean: str, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    register("alpha", REAL_HOST_URI, "--zone", zone.name)
    said = capsys.readouterr().out
    host = Host.objects.get()
    assert (host.name, host.zone, host.health) == ("alpha", zone, Host.Health.UP)
    assert host.vcpus_total > 0
    assert host.memory_mib_total > 0
    assert host.disk_gib_total > 0
    assert host.domain_type in {"kvm", "qemu"}
    assert host.domain_type_reason
    assert "ready" in said
    # Again: nothing is tried anew, nothing is doubled.
    register("alpha", REAL_HOST_URI, "--zone", zone.name)
    assert "Trying how guests run" not in capsys.readouterr().out
    assert Host.objects.count() == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("alpha", REAL_HOST_URI, "--zone", "nowhere"), "Known zones: zone-a"),
        (("Not a name", REAL_HOST_URI, "--zone", "zone-a"), "small letters"),
        (("alpha", "qemu+unix:///system?socket=/nowhere.sock", "--zone", "zone-a"), "does not answer"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    clean: str, zone: Zone, words: tuple[str, ...], told: str
) -> None:
    with pytest.raises(CommandError, match=told):
        register(*words)
    assert not Host.objects.exists()
