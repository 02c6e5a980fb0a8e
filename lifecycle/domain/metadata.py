"""Metadata, tags and descriptions of a VM, by Compute Engine's rules; which keys reach the guest."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import MAX_USER_DATA, NAME, check_text

KEYS: Final = "ssh-keys"
SCRIPT: Final = "startup-script"
USER_DATA: Final = "user-data"
#: Keys that tell Compute Engine's guest agent or platform to do what this product does not.
NOT_ACTED_ON: Final = frozenset(
    {
        "enable-guest-attributes",
        "enable-oslogin",
        "enable-oslogin-2fa",
        "gce-container-declaration",
        "shutdown-script",
        "shutdown-script-url",
        "startup-script-url",
        "sshKeys",
        "sysprep-specialize-script-cmd",
        "sysprep-specialize-script-ps1",
        "windows-keys",
        "windows-startup-script-cmd",
        "windows-startup-script-ps1",
        "windows-startup-script-url",
    }
)
_OFF: Final = frozenset({"", "0", "false", "no", "n", "off"})
TAGS_MAX: Final = 64
DESCRIPTION_MAX: Final = 2048
METADATA_MAX: Final = 512 * 1024  # characters, keys and values together
_KEY: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
#: "user:ssh-ed25519 AAAA…": the account that Compute Engine's agent would make.
_WITH_USER: Final = re.compile(r"[^\s:]{0,64}:(?=\S+ )")


def check_metadata(items: Mapping[str, str]) -> dict[str, str]:
    """Metadata whose keys and sizes are possible, and which asks for nothing that would not happen."""
    for key, value in items.items():
        if not _KEY.fullmatch(key):
            raise InvalidInput(
                "A metadata key has 1 to 128 letters, digits, hyphens and underscores.", field="metadata"
            )
        if key in NOT_ACTED_ON and value.strip().lower() not in _OFF:
            raise InvalidInput("The metadata key %(key)s is not supported here.", field="metadata", key=key)
    if sum(len(key) + len(value) for key, value in items.items()) > METADATA_MAX:
        raise InvalidInput(
            "The metadata is larger than the %(most)s characters that are possible.",
            field="metadata",
            most=METADATA_MAX,
        )
    return {key: check_text(value, "metadata", MAX_USER_DATA) for key, value in items.items()}


def bare_keys(text: str) -> str:
    """SSH keys as the seed holds them: without the account before each, as `ssh-keys` has it."""
    return "\n".join(_WITH_USER.sub("", line.strip()) for line in text.splitlines() if line.strip())


def check_tags(tags: Sequence[str]) -> list[str]:
    """Network tags: names, each once, in order."""
    if len(tags) > TAGS_MAX:
        raise InvalidInput("At most %(most)s tags are possible.", field="tags", most=TAGS_MAX)
    for tag in tags:
        if len(tag) > 63 or not NAME.fullmatch(tag):
            raise InvalidInput(
                "A tag has at most 63 small letters, digits and hyphens and starts with a letter.", field="tags"
            )
    return sorted(set(tags))


def check_description(text: str) -> str:
    """A text for people."""
    return check_text(text, "description", DESCRIPTION_MAX)
