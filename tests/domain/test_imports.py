"""What may become an image: addresses, bytes, and what qemu-img says, judged without touching anything."""

import ipaddress
import struct
from typing import Any

import pytest

from lifecycle.domain import imports
from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.imports import GIB, Limits

LIMITS = Limits(file_bytes=2 * GIB, disk_bytes=20 * GIB)
DIGEST = "0123456789abcdef" * 4


def qcow2(*, version: int = 3, backing: int = 0, size: int = GIB, crypt: int = 0, features: int = 0) -> bytes:
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, 0, 16, size, crypt)
    return head.ljust(72, b"\0") + struct.pack(">QQQII", features, 0, 0, 4, 104)


# -- what is typed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["https://example.org/a.qcow2", "http://example.org:8080/?file=a", "https://[2001:db8::1]/x"]
)
def test_an_address_of_a_file_passes(text: str) -> None:
    assert imports.check_url(text).scheme in {"http", "https"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.org/a", "ftp://example.org/a", "file:///etc/passwd", "javascript:alert(1)", "http://"),
        *("https://me:secret@example.org/a", "http://example.org:99999/", "http://[::1/a", "http://a/\nHost: b"),
        *("http://example.org/a b", "http://example.org:0/", "https://" + "a" * 2000),
    ],
)
def test_what_is_no_address_of_a_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        imports.check_url(text)
    assert refused.value.field == "url"


@pytest.mark.parametrize("text", [DIGEST, DIGEST.upper(), f"{DIGEST}  debian.qcow2\n", f"sha256:{DIGEST}", ""])
def test_a_checksum_as_people_copy_it_passes(text: str) -> None:
    assert imports.check_sha256(text) in {DIGEST, ""}


@pytest.mark.parametrize("text", ["abc", DIGEST[:-1], DIGEST + "0", "g" * 64, "d41d8cd98f00b204e9800998ecf8427e"])
def test_what_is_no_sha256_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        imports.check_sha256(text)


@pytest.mark.parametrize("name", ["", "Debian", "-a", "a-", "a" * 64, "a/b", "a b", "ä"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        imports.check_image_name(name)


@pytest.mark.parametrize("name", ["", "root; reboot", "$(id)", "a" * 33, "-x"])
def test_a_user_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        imports.check_default_user(name)


# -- where it may come from ----------------------------------------------------------------------


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_may_be_asked(address: str) -> None:
    assert imports.may_connect(address, [])


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.1.2.3", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "192.0.2.1"),
    ],
)
def test_private_addresses_may_not(address: str) -> None:
    assert not imports.may_connect(address, [])


def test_a_network_that_is_allowed_may_be_asked_and_its_neighbour_not() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16")]
    assert imports.may_connect("10.1.2.3", allowed)
    assert imports.may_connect("::ffff:10.1.2.3", allowed)
    assert not imports.may_connect("10.2.0.1", allowed)


# -- what a file is ------------------------------------------------------------------------------

MBR = b"\0" * 510 + b"\x55\xaa"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (qcow2(), "qcow2"),
        (b"KDMV" + b"\0" * 508, "vmdk"),
        ((b"<<< Oracle VM VirtualBox Disk Image >>>").ljust(0x40, b"\0") + b"\x7f\x10\xda\xbe", "vdi"),
        (MBR, "raw"),
        (b"\0" * 512 + b"EFI PART" + b"\0" * 504, "raw"),
        (b"\0" * 0x8001 + b"CD001" + b"\0" * 2042, "iso"),
        (MBR + b"\0" * (0x8001 - 512) + b"CD001", "iso"),
    ],
)
def test_a_file_is_what_its_first_bytes_say(head: bytes, kind: str) -> None:
    assert imports.format_of(head, len(head) // 512 * 512) == kind


@pytest.mark.parametrize("head", [b"", b"hello", b"<html>", b"\x7fELF", b"\0" * 4096, b"QED\0" + b"\0" * 600])
def test_what_is_no_image_is_refused(head: bytes) -> None:
    with pytest.raises(InvalidInput, match="not an image"):
        imports.format_of(head, len(head))


@pytest.mark.parametrize(("head", "word"), [(b"\x1f\x8b\x08", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"PK\x03\x04", "zip")])
def test_a_packed_file_is_refused_with_what_to_do(head: bytes, word: str) -> None:
    with pytest.raises(InvalidInput, match=f"{word}.*unpack it first"):
        imports.format_of(head + b"\0" * 600, 700)


def test_a_vmdk_that_only_names_other_files_is_refused_unopened() -> None:
    text = b'# Disk DescriptorFile\nversion=1\nRW 20 FLAT "/etc/shadow" 0\n'
    with pytest.raises(InvalidInput, match="names other files"):
        imports.format_of(text, len(text))


def test_a_raw_disk_that_ends_within_a_sector_is_refused() -> None:
    with pytest.raises(InvalidInput, match="middle of a sector"):
        imports.format_of(MBR, 1000)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (qcow2(backing=4096), "backing file"),
        (qcow2(features=4), "data file"),
        (qcow2(features=2), "damaged"),
        (qcow2(crypt=2), "encrypted"),
        (qcow2(version=9), "version"),
        (qcow2(size=2**60), "at most 20 GiB"),
        (qcow2(size=0), "no size"),
        (qcow2()[:40], "not complete"),
    ],
)
def test_a_hostile_qcow2_is_refused_by_its_header(head: bytes, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        imports.check_head("qcow2", head, GIB, LIMITS)


@pytest.mark.parametrize("head", [qcow2(), qcow2(version=2), qcow2(features=1), qcow2(size=20 * GIB)])
def test_an_honest_qcow2_passes(head: bytes) -> None:
    imports.check_head("qcow2", head, GIB, LIMITS)


GOOD: dict[str, Any] = {
    "format": "vmdk",
    "virtual-size": GIB,
    "format-specific": {"data": {"extents": [{"filename": "/a"}]}},
}


def test_what_qemu_img_says_of_an_honest_image_passes() -> None:
    assert imports.check_info(GOOD, "vmdk", "/a", LIMITS) == GIB


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "raw"},
        {"backing-filename": "/etc/passwd"},
        {"full-backing-filename": "nbd://10.0.0.1/x"},
        {"format-specific": {"data": {"extents": [{"filename": "/a"}, {"filename": "/etc/passwd"}]}}},
        {"format-specific": {"data": {"data-file": "/etc/passwd"}}},
        {"format-specific": {"data": {"encrypt": {"format": "luks"}}}},
        {"encrypted": True},
        {"virtual-size": 21 * GIB},
        {"virtual-size": 0},
    ],
    ids=str,
)
def test_what_qemu_img_says_of_a_hostile_one_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        imports.check_info({**GOOD, **changes}, "vmdk", "/a", LIMITS)


@pytest.mark.parametrize(("size", "gib"), [(1, 1), (GIB, 1), (GIB + 1, 2), (10 * GIB, 10)])
def test_a_disk_is_whole_gibibytes(size: int, gib: int) -> None:
    assert imports.disk_gib(size) == gib
