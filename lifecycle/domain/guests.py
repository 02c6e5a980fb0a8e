"""What may be asked of a guest: names, sizes, keys, data. Every refusal says what is wrong and what to do."""

import base64
import binascii
import json
import re
from typing import Final

from lifecycle.domain import userdata
from lifecycle.domain.errors import InvalidInput

NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
#: Names that stand for something else in addresses of the portal (/vms/new/, /vms/bulk/).
RESERVED_NAMES: Final = frozenset({"new", "bulk"})
MAX_USER_DATA: Final = 256 * 1024  # characters; Compute Engine's limit of one metadata value
MAX_SCRIPT: Final = 256 * 1024
MAX_KEYS: Final = 50
VCPUS: Final = range(1, 65)
MEMORY_MIB: Final = range(80, 1024 * 1024 + 1)
DISK_GIB: Final = range(1, 65_537)
GRACE_SECONDS: Final = range(3601)
HOST_ERROR_TIMEOUTS: Final = range(90, 331, 30)
_KEY_TYPES: Final = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
_CUSTOM: Final = re.compile(r"custom-(-?[0-9]{1,12})-(-?[0-9]{1,12})")


def check_name(name: str) -> str:
    """A name by RFC 1035, as in Compute Engine: it becomes host name, domain name and file name."""
    if not name:
        raise InvalidInput("Give the VM a name.", field="name")
    if len(name) > 63:
        raise InvalidInput(
            "The name has %(length)s characters; at most 63 are possible.",
            field="name",
            length=len(name),
        )
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "A name starts with a small letter and goes on with small letters, digits and hyphens; it does not end "
            "with a hyphen. For example: web-1",
            field="name",
        )
    if name in RESERVED_NAMES:
        raise InvalidInput("This name is taken by the portal's own addresses. Choose another.", field="name")
    return name


def parse_custom_machine_type(name: str) -> tuple[int, int] | None:
    """`custom-VCPUS-MEMORY` (MiB) as in Compute Engine; None when `name` is not of that form."""
    found = _CUSTOM.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def check_shape(vcpus: int, memory_mib: int) -> tuple[int, int]:
    """Sizes a VM may have."""
    if vcpus not in VCPUS:
        raise InvalidInput(
            "%(value)s vCPUs are not possible: choose 1 to %(most)s.", field="vcpus", value=vcpus, most=VCPUS[-1]
        )
    if memory_mib not in MEMORY_MIB:
        raise InvalidInput(
            "%(value)s MiB of memory are not possible: choose %(least)s to %(most)s MiB.",
            field="memory_mib",
            value=memory_mib,
            least=MEMORY_MIB[0],
            most=MEMORY_MIB[-1],
        )
    return vcpus, memory_mib


def check_disk(size_gib: int, least_gib: int) -> int:
    """A disk as large as its image, and not absurd."""
    if size_gib not in DISK_GIB:
        raise InvalidInput(
            "%(value)s GiB of disk are not possible: choose 1 to %(most)s GiB.",
            field="disk_gib",
            value=size_gib,
            most=DISK_GIB[-1],
        )
    if size_gib < least_gib:
        raise InvalidInput(
            "The image needs a disk of at least %(least)s GiB; %(value)s GiB are too small.",
            field="disk_gib",
            least=least_gib,
            value=size_gib,
        )
    return size_gib


def check_ssh_keys(text: str) -> str:
    """Public keys, one a line, normalised. A private key is recognised and refused without being repeated."""
    keys = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    if "PRIVATE KEY" in text:
        raise InvalidInput("This is a private key. Keep it to yourself and paste the .pub file.", field="ssh_keys")
    if len(keys) > MAX_KEYS:
        raise InvalidInput("At most %(most)s SSH keys are possible.", field="ssh_keys", most=MAX_KEYS)
    for number, key in enumerate(keys, start=1):
        _check_ssh_key(key, number)
    return "\n".join(keys)


def _check_ssh_key(key: str, number: int) -> None:
    kind, _, rest = key.partition(" ")
    body, _, comment = rest.partition(" ")
    wrong = InvalidInput(
        'Line %(number)s is not an SSH public key. It should look like "ssh-ed25519 AAAA… you@laptop".',
        field="ssh_keys",
        number=number,
    )
    if kind not in _KEY_TYPES or not comment.isprintable() or '"' in comment or "'" in comment:
        raise wrong
    try:
        raw = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise wrong from None
    length = int.from_bytes(raw[:4], "big")
    if raw[4 : 4 + length] != kind.encode() or len(raw) < 4 + length + 32:
        raise wrong


def check_text(text: str, field: str, most: int) -> str:
    """A script or user data: not too long, no NUL, and such that it can be written as UTF-8."""
    if len(text) > most:
        raise InvalidInput(
            "This text has %(length)s characters; at most %(most)s are possible.",
            field=field,
            length=len(text),
            most=most,
        )
    if "\0" in text:
        raise InvalidInput("This text holds a NUL character: it is not text.", field=field)
    if any("\ud800" <= character <= "\udfff" for character in text):  # JSON can carry half a character
        raise InvalidInput("This text holds half a character: it is not valid Unicode.", field=field)
    return text.replace("\r\n", "\n")


def check_startup_script(text: str) -> str:
    """A script the guest runs at every boot: it must say its interpreter."""
    script = check_text(text, "startup_script", MAX_SCRIPT)
    if script.strip():
        userdata.check_script(script, "startup_script")
    return script


def check_user_data(text: str) -> str:
    """User data in a form that cloud-init reads: cloud-config, a script, MIME parts and the like."""
    data = check_text(text, "user_data", MAX_USER_DATA)
    if data.strip():
        userdata.check_user_data(data)
    return data


def check_grace(seconds: int) -> int:
    """How long a guest may take to shut down before it is forced off."""
    if seconds not in GRACE_SECONDS:
        raise InvalidInput(
            "The grace period is 0 to %(most)s seconds.", field="stop_grace_seconds", most=GRACE_SECONDS[-1]
        )
    return seconds


def check_host_error_timeout(seconds: int) -> int:
    """How long a VM's host may be silent before the VM is in host error (LIFECYCLE: hostErrorTimeoutSeconds)."""
    if seconds not in HOST_ERROR_TIMEOUTS:
        raise InvalidInput(
            "The host error timeout is %(least)s to %(most)s seconds, in steps of %(step)s.",
            field="host_error_timeout_seconds",
            least=HOST_ERROR_TIMEOUTS[0],
            most=HOST_ERROR_TIMEOUTS[-1],
            step=HOST_ERROR_TIMEOUTS.step,
        )
    return seconds


def seed_files(
    *, instance_id: str, hostname: str, ssh_keys: str, startup_script: str, user_data: str
) -> dict[str, bytes]:
    """The files of a NoCloud seed, by name. Source: cloud-init's NoCloud data source.

    Keys go into meta-data (`public-keys`), the startup script into vendor-data as a per-boot script,
    the user's own data is passed through untouched.
    """
    lines = [f"instance-id: {instance_id}", f"local-hostname: {hostname}"]
    if ssh_keys:
        # Quoted: a comment such as "home: laptop" would be a mapping to YAML otherwise.
        lines += ["public-keys:", *(f"  - {json.dumps(key, ensure_ascii=False)}" for key in ssh_keys.splitlines())]
    vendor = "#cloud-config\n{}\n"
    if startup_script.strip():
        content = base64.b64encode(startup_script.encode()).decode()
        vendor = (
            "#cloud-config\nwrite_files:\n"
            "- path: /var/lib/cloud/scripts/per-boot/50-vmportal-startup\n"
            "  permissions: '0755'\n"
            "  encoding: b64\n"
            f"  content: {content}\n"
        )
    return {
        "meta-data": ("\n".join(lines) + "\n").encode(),
        "user-data": (user_data if user_data.strip() else "#cloud-config\n{}\n").encode(),
        "vendor-data": vendor.encode(),
    }
