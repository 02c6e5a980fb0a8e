"""SSH keys as people know them: their fingerprints, and those of a guest's own host keys, read from what it prints."""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import check_ssh_keys

NAME_MAX: Final = 60
_BEGIN: Final = "-----BEGIN SSH HOST KEY FINGERPRINTS-----"
_END: Final = "-----END SSH HOST KEY FINGERPRINTS-----"
#: A line of ssh-keygen -l; cloud-init puts its own words before it.
_PRINTED: Final = re.compile(r"\b(\d{2,5}) (SHA256:[A-Za-z0-9+/]{43}) .*?\(([A-Za-z0-9-]{2,20})\)\s*$")
#: A guest has a handful of keys; one that prints more is not believed.
_HOST_KEYS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key. `fingerprint` as `ssh-keygen -l` prints it."""

    kind: str
    line: str
    comment: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host key as a guest printed it."""

    bits: int
    fingerprint: str
    kind: str


def parse_public_key(text: str) -> PublicKey:
    """The one public key in `text`, checked as keys of VMs are; raises `InvalidInput` for field `key`."""
    try:
        lines = check_ssh_keys(text).splitlines()
    except InvalidInput as error:
        raise InvalidInput(error.message, field="key", **error.params) from None
    if len(lines) != 1:
        raise InvalidInput("Paste one public key: the one line of a .pub file.", field="key")
    kind, _, rest = lines[0].partition(" ")
    body, _, comment = rest.partition(" ")
    return PublicKey(kind, lines[0], comment.strip(), fingerprint_of(body))


def fingerprint_of(body: str) -> str:
    """SHA256:… of the base64 `body` of a public key."""
    digest = hashlib.sha256(base64.b64decode(body)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def check_key_name(name: str) -> str:
    """A name for a key, for people."""
    name = name.strip()
    if len(name) > NAME_MAX or not name.isprintable():
        raise InvalidInput("A key's name has at most %(most)s characters.", field="name", most=NAME_MAX)
    return name


def joined(*texts: str) -> str:
    """Keys of several texts, one a line, each once, in order."""
    return "\n".join(dict.fromkeys(line for text in texts for line in text.splitlines() if line.strip()))


def read_host_keys(serial: str) -> tuple[HostKey, ...]:
    """The host keys in the last whole block of fingerprints that the guest printed; empty without one."""
    end = serial.rfind(_END)
    begin = serial.rfind(_BEGIN, 0, max(end, 0))
    if begin < 0:
        return ()
    found = [_PRINTED.search(line.rstrip()) for line in serial[begin:end].splitlines()]
    keys = [HostKey(int(match[1]), match[2], match[3]) for match in found if match]
    return tuple(dict.fromkeys(keys))[:_HOST_KEYS_MAX]
