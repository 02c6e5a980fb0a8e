"""Fingerprints of settings: who changes them says which version they saw, and loses when another was faster."""

import base64
import hashlib
import json
from typing import Any

from lifecycle.domain.errors import ConditionNotMet
from lifecycle.domain.text import mark

#: Compute Engine's own words; its clients know a lost race by them.
METADATA_MOVED = mark("Supplied fingerprint does not match current metadata fingerprint.")
TAGS_MOVED = mark("Supplied fingerprint does not match current tags fingerprint.")
LABELS_MOVED = mark("Labels fingerprint either invalid or resource labels have changed.")


_as_json = json.JSONEncoder(sort_keys=True, ensure_ascii=True).encode


def fingerprint(value: Any) -> str:
    """Eight bytes of a hash of `value` (JSON), in base64."""
    return fingerprint_of_text(_as_json(value))


def fingerprint_of_text(text: str) -> str:
    """Eight bytes of a hash of `text`, in base64."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def check(supplied: str, value: Any, moved: str) -> None:
    """Refuse a change that was made of another version of `value`.

    Raises:
        ConditionNotMet: with the text `moved`; also when no fingerprint was supplied.
    """
    if supplied.rstrip("=").replace("+", "-").replace("/", "_") != fingerprint(value).rstrip("="):
        raise ConditionNotMet(moved)
