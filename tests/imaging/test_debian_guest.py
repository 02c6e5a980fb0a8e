"""The Debian image as a guest: what `./portal manage build_image debian-12` builds."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.imaging.build import BuiltImage
from tests.imaging.conftest import built
from tests.imaging.guest import Guest, Seed

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(2400)]

BOOT_SECONDS = 500.0
# write_files of the user's own: cloud-init would then pass over the startup script's.
USER_DATA = "#cloud-config\nwrite_files:\n- path: /root/mine\n  content: mine\nruncmd:\n- echo once >> /root/applied\n"


@pytest.fixture(scope="module")
def image() -> BuiltImage:
    """The Debian image that the scripts make now: built here the first time, which takes a minute or two."""
    return built("debian-12")


def _seed(ssh_key: Path, startup_script: str) -> Seed:
    key = ssh_key.with_suffix(".pub").read_text().strip()
    return Seed(hostname="deb-1", ssh_keys=key, user_data=USER_DATA, startup_script=startup_script)


@pytest.fixture(scope="module")
def guest(image: BuiltImage, ssh_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Booted twice, the second time with another startup script."""
    directory = tmp_path_factory.mktemp("debian")
    with Guest(image.path, directory, ssh_key, memory_mib=512, disk_gib=4, user="debian") as guest:
        guest.start(_seed(ssh_key, "#!/bin/sh\necho first $(id -un)\n"))
        guest.wait_for_output("VMPORTAL-READY deb-1 ", BOOT_SECONDS)
        guest.wait_for_output("startup-script: first root\n", BOOT_SECONDS)
        guest.wait_for_output(" finished at ", BOOT_SECONDS)
        guest.power_off()
        guest.start(_seed(ssh_key, "#!/bin/sh\necho second\n"))
        guest.wait_for_output("VMPORTAL-READY deb-1 ", BOOT_SECONDS)
        yield guest


def test_a_changed_startup_script_runs_instead(guest: Guest) -> None:
    assert "startup-script: first" not in guest.wait_for_output("startup-script: second\n", BOOT_SECONDS)


def test_user_data_is_applied_once(guest: Guest) -> None:
    assert guest.run("sudo cat /root/mine /root/applied") == "mineonce\n"


def test_the_file_system_has_grown_to_the_disk(guest: Guest) -> None:
    assert int(guest.run("df -k --output=size / | tail -n 1")) > 3.5 * 2**20


def test_no_service_has_failed(guest: Guest) -> None:
    assert guest.run("systemctl --failed --no-legend --plain").strip() == ""


def test_its_apt_takes_debian_from_archives_that_a_guest_can_reach(guest: Guest) -> None:
    lines = guest.run("cat /etc/apt/sources.list").splitlines()
    assert {line.split()[2] for line in lines} >= {"bookworm"}
    assert all(re.fullmatch(r"deb https?://[^@ ]+ bookworm(-updates|-security)? main", line) for line in lines)


def test_the_guest_agent_answers(guest: Guest) -> None:
    assert guest.agent("guest-get-host-name") == {"host-name": "deb-1"}


def test_ssh_takes_keys_and_no_password(guest: Guest) -> None:
    assert "Permission denied (publickey)." in guest.ssh("true", "-o", "PreferredAuthentications=none").stderr


def test_a_new_initial_ram_disk_reaches_the_boot_partition(guest: Guest) -> None:
    guest.run("sudo update-initramfs -u")
    guest.run("sudo mount /boot/syslinux && sudo cmp /boot/syslinux/initrd.img /boot/initrd.img-$(uname -r)")
    guest.run("sudo umount /boot/syslinux")
