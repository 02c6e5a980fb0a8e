"""Keys and their fingerprints; host keys as guests print them."""

import subprocess
from pathlib import Path

import pytest

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.keys import HostKey, check_key_name, joined, parse_public_key, read_host_keys
from tests.factories import SSH_KEY

ED = "SHA256:" + "a" * 43
RSA = "SHA256:" + "b" * 43
BEGIN, END = "-----BEGIN SSH HOST KEY FINGERPRINTS-----", "-----END SSH HOST KEY FINGERPRINTS-----"


def test_a_fingerprint_is_the_one_that_ssh_keygen_prints(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "me at home", "-f", str(path)], check=True)
    key = parse_public_key(path.with_suffix(".pub").read_text())
    printed = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True).stdout
    assert (key.kind, key.comment) == ("ecdsa-sha2-nistp256", "me at home")
    assert printed.split()[1] == key.fingerprint


@pytest.mark.parametrize(
    "text", ["", "hello", f"{SSH_KEY}\n{SSH_KEY}", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", "ssh-ed25519 AAAA me"]
)
def test_what_is_not_one_public_key_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_public_key(text)
    assert refused.value.field == "key"


@pytest.mark.parametrize("name", ["x" * 61, "a\x07b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_key_name(name)


def test_keys_are_joined_each_once_in_order() -> None:
    assert joined("b\na", "", "a\nc") == "b\na\nc"


def test_the_host_keys_of_a_tiny_guest_are_read() -> None:
    text = f"booting\r\n{BEGIN}\r\n256 {ED} root@web-1 (ED25519)\r\n{END}\r\nVMPORTAL-READY"
    assert read_host_keys(text) == (HostKey(256, ED, "ED25519"),)


def test_cloud_inits_own_words_before_each_line_are_skipped() -> None:
    lines = [BEGIN, f"3072 {RSA} root@web-1 (RSA)", f"256 {ED} no comment (ED25519)", END]
    text = "\n".join(f"<14>Nov 27 19:09:30 cloud-init: {line}" for line in lines)
    assert [key.kind for key in read_host_keys(text)] == ["RSA", "ED25519"]


def test_the_last_whole_block_counts() -> None:
    blocks = [f"{BEGIN}\n256 {key} x (ED25519)\n{END}\n" for key in (RSA, ED)]
    assert read_host_keys("".join(blocks) + f"{BEGIN}\n256 {RSA}") == (HostKey(256, ED, "ED25519"),)


@pytest.mark.parametrize("text", ["", END, BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n256 MD5:aa:bb x (RSA)\n{END}"])
def test_without_a_whole_block_there_are_none(text: str) -> None:
    assert read_host_keys(text) == ()


def test_a_guest_that_prints_keys_without_end_is_not_believed() -> None:
    lines = "\n".join(f"256 SHA256:{n:043d} x (ED25519)" for n in range(500))
    assert len(read_host_keys(f"{BEGIN}\n{lines}\n{END}")) == 8
