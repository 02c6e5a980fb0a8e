"""What may become an image: addresses that may be asked, files that may be opened, and words for what may not.

A file that a stranger made is read here by its own first bytes before any tool opens it: `qemu-img` follows what
an image names (a backing file, a data file, extents), and by that a hostile image could read files of this machine.
Sources: QEMU's docs/interop/qcow2.txt; the VMDK 5.0 and VDI formats as QEMU's block drivers read them; ECMA-119.
"""

import ipaddress
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from lifecycle.domain.errors import InvalidInput

GIB: Final = 2**30
URL_MAX: Final = 2000
#: So much of a file's beginning tells what it is.
HEAD_BYTES: Final = 64 * 1024
FORMATS: Final = ("qcow2", "raw", "vmdk", "vdi", "iso")
#: Images of a format that is converted to qcow2; an ISO stays what it is.
CONVERTED: Final = frozenset({"raw", "vmdk", "vdi"})
NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PACKED: Final = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"(\xb5/\xfd": "zstd",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
}
_QCOW2_DIRTY, _QCOW2_CORRUPT, _QCOW2_DATA_FILE = 1, 2, 4

Address = IPv4Address | IPv6Address
Network = ipaddress.IPv4Network | IPv6Network


# -- what is typed -------------------------------------------------------------------------------


def check_image_name(name: str, field: str = "name") -> str:
    """A name for an image or a family."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "A name starts with a small letter and goes on with small letters, digits and hyphens, at most 63 in all. "
            "For example: debian-12",
            field=field,
        )
    return name


def check_sha256(text: str) -> str:
    """A SHA-256 as sha256sum prints it, with or without the file's name behind it; empty stays empty."""
    words = text.split()
    digest = words[0].lower().removeprefix("sha256:") if words else ""
    if digest and not _SHA256.fullmatch(digest):
        raise InvalidInput(
            "A SHA-256 checksum has 64 digits from 0 to 9 and a to f; this one has %(length)s characters.",
            field="sha256",
            length=len(digest),
        )
    return digest


def check_default_user(name: str) -> str:
    """The account that a seed's keys let in."""
    if not USER.fullmatch(name):
        raise InvalidInput("%(value)s is no name of an account.", field="default_user", value=name[:40])
    return name


def check_url(text: str, field: str = "url") -> SplitResult:
    """An http or https address of a file."""
    if len(text) > URL_MAX or not text.isprintable() or " " in text:
        raise InvalidInput("This is not an address of a file.", field=field)
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise InvalidInput("This is not an address of a file.", field=field) from None
    if url.scheme not in {"http", "https"} or not url.hostname or port == 0:
        raise InvalidInput("An image is fetched from an address that begins with http:// or https://.", field=field)
    if url.username is not None or url.password is not None:
        raise InvalidInput("The address must hold no user name and no password.", field=field)
    return url


# -- where it may come from ----------------------------------------------------------------------


def may_connect(address: str, allowed: Iterable[Network]) -> bool:
    """Whether an image may be fetched from this IP address: public ones, and those of the `allowed` networks.

    An IPv6 address that stands for an IPv4 address is judged as that one.
    """
    ip = _plain(ipaddress.ip_address(address.partition("%")[0]))
    if any(ip.version == network.version and ip in network for network in allowed):
        return True
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _plain(ip: Address) -> Address:
    if isinstance(ip, IPv4Address):
        return ip
    if ip in IPv6Network("64:ff9b::/96"):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or ip


# -- what a file is ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes: of the file, and of the disk that a guest would see."""

    file_bytes: int
    disk_bytes: int


def format_of(head: bytes, size: int) -> str:
    """The format of a file by its first bytes (`HEAD_BYTES`, or all). Raises InvalidInput for what is no image."""
    for magic, name in _PACKED.items():
        if head.startswith(magic):
            raise InvalidInput(
                "The file is packed (%(packing)s): unpack it first and give the checksum of what comes out.",
                packing=name,
            )
    if head.startswith(b"QFI\xfb"):
        return "qcow2"
    if head.startswith(b"KDMV"):
        return "vmdk"
    if head.startswith(b"# Disk Descr"):
        raise InvalidInput("This VMDK names other files as its content: export it as one file (monolithicSparse).")
    if head[0x40:0x44] == b"\x7f\x10\xda\xbe":
        return "vdi"
    if head[0x8001:0x8006] == b"CD001":
        return "iso"
    if head[510:512] == b"\x55\xaa" or head[512:520] == b"EFI PART":
        if size % 512:
            raise InvalidInput("The file ends in the middle of a sector: it is not complete.")
        return "raw"
    raise InvalidInput(
        "The file is not an image of a disk: it is neither qcow2, VMDK, VDI or ISO, nor does it have a partition table."
    )


def check_head(kind: str, head: bytes, size: int, limits: Limits) -> None:
    """Refuse, by the bytes alone, a qcow2 that stands on other files, is encrypted, or claims an absurd disk.

    `size` is the file's, in bytes.
    """
    if kind == "vdi":
        _check_vdi(head, size)
    if kind != "qcow2":
        return
    if len(head) < 72:
        raise InvalidInput("The file ends within its header: it is not complete.")
    version, backing = struct.unpack_from(">IQ", head, 4)
    disk_bytes, encryption = struct.unpack_from(">QI", head, 24)
    if version not in {2, 3}:
        raise InvalidInput("This version of qcow2 (%(version)s) is not known.", version=version)
    if backing:
        raise InvalidInput(
            "The image stands on another file (a backing file). Make it whole first: qemu-img convert -O qcow2."
        )
    if encryption:
        raise InvalidInput("The image is encrypted: nobody could start it here.")
    features = struct.unpack_from(">Q", head, 72)[0] if version == 3 and len(head) >= 80 else 0
    if features & _QCOW2_DATA_FILE:
        raise InvalidInput("The image keeps its data in another file (a data file). Make it whole first.")
    if features & _QCOW2_CORRUPT:
        raise InvalidInput("The image is marked as damaged.")
    check_disk_size(disk_bytes, limits)


def _check_vdi(head: bytes, size: int) -> None:
    """As long as its header says: QEMU reads zeros behind the end of one that was cut short."""
    if len(head) < 0x188:
        raise InvalidInput("The file ends within its header: it is not complete.")
    (data,) = struct.unpack_from("<I", head, 0x158)
    (block,) = struct.unpack_from("<I", head, 0x178)
    (allocated,) = struct.unpack_from("<I", head, 0x184)
    if size < data + block * allocated:
        raise InvalidInput("The image is damaged or not complete: %(why)s", why="it is shorter than its header says")


def check_disk_size(size: int, limits: Limits) -> int:
    """The size of the disk that a guest would see, in bytes."""
    if size <= 0:
        raise InvalidInput("The disk in this image has no size.")
    if size > limits.disk_bytes:
        raise InvalidInput(
            "The disk in this image would have %(value)s GiB; at most %(most)s GiB are possible.",
            value=-(-size // GIB),
            most=limits.disk_bytes // GIB,
        )
    return size


def check_info(info: Mapping[str, Any], kind: str, own_path: str, limits: Limits) -> int:
    """What `qemu-img info --output=json` says of the file at `own_path`; returns the size of the disk in bytes."""
    if info.get("format") != kind:
        raise InvalidInput("The file says it is %(kind)s, and is not.", kind=kind)
    if any(str(key).endswith("backing-filename") for key in info):
        raise InvalidInput(
            "The image stands on another file (a backing file). Make it whole first: qemu-img convert -O qcow2."
        )
    data = (info.get("format-specific") or {}).get("data") or {}
    if data.get("data-file"):
        raise InvalidInput("The image keeps its data in another file (a data file). Make it whole first.")
    if any(extent.get("filename") != own_path for extent in data.get("extents") or ()):
        raise InvalidInput("This VMDK names other files as its content: export it as one file (monolithicSparse).")
    if info.get("encrypted") or data.get("encrypt"):
        raise InvalidInput("The image is encrypted: nobody could start it here.")
    return check_disk_size(int(info.get("virtual-size", 0)), limits)


def disk_gib(size_bytes: int) -> int:
    """The smallest disk, in whole GiB, that holds `size_bytes`."""
    return max(1, -(-size_bytes // GIB))
