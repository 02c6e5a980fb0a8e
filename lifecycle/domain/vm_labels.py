"""Labels of a VM: what they may be, as Compute Engine allows them, and the fingerprint that tells versions apart.

Source: https://cloud.google.com/compute/docs/labeling-resources ("Requirements for labels").
"""

import base64
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from typing import Final

from lifecycle.domain.errors import InvalidInput

MOST: Final = 64
LENGTH_MAX: Final = 63  # characters, of a key and of a value
#: Small letters, letters of scripts without capitals, marks that belong to a letter.
_LETTERS: Final = frozenset({"Ll", "Lo", "Mn", "Mc"})


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels in the order of their keys.

    Raises:
        InvalidInput: too many, or one that is not possible; the text says which and why.
    """
    if len(labels) > MOST:
        raise InvalidInput(
            "A VM has at most %(most)s labels; these are %(number)s.", field="labels", most=MOST, number=len(labels)
        )
    for key, value in labels.items():
        _check_key(key)
        _check_value(key, value)
    return dict(sorted(labels.items()))


def _check_key(key: str) -> None:
    if not key or len(key) > LENGTH_MAX or not _is_letter(key[0]) or not all(_may_stand(c) for c in key):
        raise InvalidInput(
            "“%(value)s” cannot be the key of a label: a key starts with a small letter, goes on with small letters, "
            "digits, hyphens and underscores, and has at most %(most)s characters.",
            field="labels",
            value=key,
            most=LENGTH_MAX,
        )


def _check_value(key: str, value: str) -> None:
    if not isinstance(value, str) or len(value) > LENGTH_MAX or not all(_may_stand(c) for c in value):
        raise InvalidInput(
            "The value of the label %(key)s can have small letters, digits, hyphens and underscores, at most %(most)s "
            "of them, or be empty.",
            field="labels",
            key=key,
            most=LENGTH_MAX,
        )


def _is_letter(character: str) -> bool:
    return unicodedata.category(character) in _LETTERS


def _may_stand(character: str) -> bool:
    return character in "-_" or _is_letter(character) or unicodedata.category(character) == "Nd"


def parse_labels(text: str) -> dict[str, str]:
    """What a person wrote: `key=value`, one a line or with commas between; a key alone has an empty value.

    Raises:
        InvalidInput: as `check_labels`, or a key given twice.
    """
    found: dict[str, str] = {}
    for part in text.replace(",", "\n").splitlines():
        key, _equals, value = (piece.strip() for piece in part.partition("="))
        if not key and not value:
            continue
        if key in found:
            raise InvalidInput("The label %(key)s is given twice.", field="labels", key=key)
        found[key] = value
    return check_labels(found)


def as_text(labels: Mapping[str, str]) -> str:
    """One `key=value` a line: how people write them."""
    return "\n".join(f"{key}={value}" for key, value in sorted(labels.items()))


def as_searched(labels: Mapping[str, str]) -> str:
    """`as_text` with a line break at both ends: "\\nkey=value\\n" in it is a label, a part of it a part of one."""
    return f"\n{as_text(labels)}\n" if labels else ""


def fingerprint(labels: Mapping[str, str]) -> str:
    """Base64 of eight bytes that change with the labels: who changes them says which version was read."""
    canonical = json.dumps(dict(sorted(labels.items())), separators=(",", ":"), ensure_ascii=True)
    return base64.b64encode(hashlib.sha256(canonical.encode()).digest()[:8]).decode()
