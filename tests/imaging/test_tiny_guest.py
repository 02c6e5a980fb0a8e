"""The tiny image as a guest: what the portal relies on, each seen from outside or over ssh."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.imaging.build import BuiltImage
from tests.imaging.guest import Guest, Seed

# Many boots in one test, on a machine that may be busy.
pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(1200)]

STARTUP_SCRIPT = "#!/bin/sh\necho I am $(id -un) on $(hostname)\nprintf 'no newline'\nexit 3\n"
AUTHORIZED = "/root/.ssh/authorized_keys"
EXTRA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExtra extra@somewhere"
LEAVER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILeaver left@somewhere"
SHARED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIShared team@somewhere"
ADDED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAdded added@guest"
USER_DATA = """#cloud-config
password: "open: sesame"
chpasswd: {expire: false}
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExtra extra@somewhere
runcmd:
  - echo once >> /root/applied
  - [sh, -c, "echo 'a, b' >> /root/applied"]
"""


@pytest.fixture(scope="module")
def guest(tiny: BuiltImage, ssh_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A guest with a key and a startup script, booted once."""
    with Guest(tiny.path, tmp_path_factory.mktemp("guest"), ssh_key) as guest:
        guest.boot(_seed(ssh_key))
        yield guest


def _public(ssh_key: Path) -> str:
    return ssh_key.with_suffix(".pub").read_text().strip()


def _seed(ssh_key: Path, **changes: str) -> Seed:
    values = {"ssh_keys": _public(ssh_key), "startup_script": STARTUP_SCRIPT}
    return Seed(**{**values, **changes})


def test_the_last_line_says_that_the_guest_is_ready(guest: Guest) -> None:
    assert re.search(r"^VMPORTAL-READY web-1 uptime=[\d.]+\n?\Z", guest.output(), re.MULTILINE)


def test_the_hostname_is_the_seeds(guest: Guest) -> None:
    assert guest.run("hostname").strip() == "web-1"


def test_the_address_is_on_the_console(guest: Guest) -> None:
    assert "ip-address: eth0 10.0.2.15\n" in guest.output()


def test_the_fingerprint_on_the_console_is_that_of_the_key_ssh_offers(guest: Guest) -> None:
    shown = re.search(
        r"-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 (SHA256:\S+) root@web-1 \(ED25519\)\n"
        r"-----END SSH HOST KEY FINGERPRINTS-----",
        guest.output(),
    )
    assert shown
    seen = guest.ssh("true", "-v").stderr
    assert f"Server host key: ssh-ed25519 {shown[1]}" in seen


def test_ssh_takes_keys_and_no_password(guest: Guest) -> None:
    refused = guest.ssh("true", "-o", "PreferredAuthentications=none")
    assert "Permission denied (publickey)." in refused.stderr


def test_the_startup_script_runs_as_root_with_its_output_prefixed(guest: Guest) -> None:
    assert "startup-script: I am root on web-1\n" in guest.output()
    assert "startup-script: no newline\nstartup-script: exit status 3\n" in guest.output()


def test_the_file_system_has_grown_to_the_disk(guest: Guest) -> None:
    blocks = int(guest.run("df -k / | tail -n 1").split()[1])
    assert blocks > (guest.disk_gib * 1024 - 100) * 1024


def test_the_guest_agent_answers(guest: Guest) -> None:
    cards = {card["name"]: card for card in guest.agent("guest-network-get-interfaces")}
    assert cards["eth0"]["ip-addresses"][0]["ip-address"] == "10.0.2.15"


def test_the_guest_agent_sets_a_password_that_opens_the_console(guest: Guest) -> None:
    before = guest.output().count("login:")
    guest.agent("guest-set-user-password", username="root", password="c2VjcmV0", crypted=False)
    guest.wait_for_output("web-1 login: ", times=before + 1)
    assert guest.run("cut -d: -f2 /etc/shadow | head -c 3") == "$6$"


def test_a_clock_that_stood_still_is_set_by_the_hardware_clock(guest: Guest) -> None:
    guest.run("date -s '2020-01-01 00:00:00'")
    deadline = time.monotonic() + 180
    while abs(int(guest.run("date +%s")) - time.time()) > 5:
        assert time.monotonic() < deadline, "the clock stayed wrong"
        time.sleep(1)


def test_scripts_and_keys_over_reboot_and_power_off(tiny: BuiltImage, ssh_key: Path, tmp_path: Path) -> None:
    with Guest(tiny.path, tmp_path, ssh_key) as guest:
        former = f"{_public(ssh_key)}\n{LEAVER}"
        output = guest.boot(_seed(ssh_key, user_data=USER_DATA, ssh_keys=former))
        assert output.count("startup-script: I am root") == 1

        guest.ssh("reboot")
        output = guest.wait_for_output("VMPORTAL-READY", times=2)
        assert output.count("startup-script: I am root") == 2

        guest.run(f"echo '{ADDED}' >> {AUTHORIZED}")
        guest.power_off()
        keys = f"{_public(ssh_key)}\n{SHARED}"
        output = guest.boot(
            _seed(ssh_key, user_data=USER_DATA, startup_script="#!/bin/sh\necho changed\n", ssh_keys=keys)
        )
        assert "startup-script: changed\n" in output
        assert "I am root" not in output
        assert guest.run("cat /root/applied") == "once\na, b\n"
        assert guest.run(f"cat {AUTHORIZED}").splitlines() == [_public(ssh_key), SHARED, EXTRA, ADDED]

        guest.power_off()
        output = guest.boot(
            _seed(ssh_key, instance_id="iid-2", hostname="web-2", user_data=USER_DATA, startup_script="")
        )
        assert "startup-script:" not in output
        assert "VMPORTAL-READY web-2 " in output
        assert guest.run("cat /root/applied") == "once\na, b\n" * 2
        assert guest.run(f"cat {AUTHORIZED}").splitlines() == [_public(ssh_key), EXTRA]


@pytest.fixture(scope="module")
def furnished(tiny: BuiltImage, ssh_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A guest with a password, keys in both places, and a startup script of a quarter of a megabyte."""
    remark = "# 0123456789012345678901234567890123456789012345678901234567\n"
    script = f"#!/bin/sh\n{remark * 4000}echo big\n"
    with Guest(tiny.path, tmp_path_factory.mktemp("furnished"), ssh_key) as guest:
        guest.boot(_seed(ssh_key, user_data=USER_DATA, startup_script=script))
        yield guest


def test_a_password_in_the_seed_opens_the_console(furnished: Guest) -> None:
    furnished.wait_for_output("web-1 login: ")


def test_a_password_in_the_seed_opens_ssh(furnished: Guest) -> None:
    assert "(publickey,password)" in furnished.ssh("true", "-o", "PreferredAuthentications=none").stderr


def test_keys_come_from_meta_data_and_user_data(furnished: Guest) -> None:
    keys = furnished.run("cat /root/.ssh/authorized_keys").splitlines()
    assert [key.split()[-1] for key in keys] == ["somebody@somewhere", "extra@somewhere"]


def test_a_large_startup_script_comes_through(furnished: Guest) -> None:
    furnished.wait_for_output("startup-script: big\n")


def test_a_whole_script_as_user_data_runs_once(tiny: BuiltImage, ssh_key: Path, tmp_path: Path) -> None:
    with Guest(tiny.path, tmp_path, ssh_key) as guest:
        seed = _seed(ssh_key, user_data="#!/bin/sh\necho ran\n")
        assert "user-data: ran\n" in guest.boot(seed)
        guest.power_off()
        assert "user-data:" not in guest.boot(seed)


def test_without_a_seed_the_guest_is_ready_and_lets_nobody_in(tiny: BuiltImage, ssh_key: Path, tmp_path: Path) -> None:
    with Guest(tiny.path, tmp_path, ssh_key) as guest:
        seed = Seed(instance_id="", hostname="")
        output = guest.boot(seed)
        assert "VMPORTAL-READY tiny " in output
        assert "Permission denied (publickey)." in guest.ssh("true").stderr


def test_the_power_button_works_at_once_and_the_lease_is_given_back(
    tiny: BuiltImage, ssh_key: Path, tmp_path: Path
) -> None:
    with Guest(tiny.path, tmp_path, ssh_key) as guest:
        guest.boot(_seed(ssh_key))
        assert b"\x0c\x05web-1" in guest.traffic.read_bytes()  # option 12, the hostname
        assert guest.power_off() < 60  # half a second on an idle machine
        assert b"\x35\x01\x07" in guest.traffic.read_bytes()  # message type DHCPRELEASE


def test_a_kernel_panic_is_reported(tiny: BuiltImage, ssh_key: Path, tmp_path: Path) -> None:
    with Guest(tiny.path, tmp_path, ssh_key) as guest:
        guest.boot(_seed(ssh_key))
        guest.ssh("echo c > /proc/sysrq-trigger", "-o", "ServerAliveInterval=3", "-o", "ServerAliveCountMax=3")
        guest.wait_for_event("GUEST_PANICKED")
