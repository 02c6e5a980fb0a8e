"""Which fields Compute Engine's answers have: what `fields` may name, whether this product fills it in or not.

`answer_fields.json` holds them by the answer's name. A field's shape is "" for a plain value, the name of another
answer for an object or a list of them, and with "*" before it for an object with keys of any name. It is taken from
Google's discovery document, which is no part of an installation: tests/api/test_fields.py compares the two, and
writes the file again with VMPORTAL_UPDATE_BASELINES=1.
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("answer_fields.json")
ANY: Final = "*"


@cache
def _fields() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text())
    return found


def below(shapes: Iterable[str], name: str) -> list[str]:
    """The shapes of what `name`, or "*" for everything, stands for in any of `shapes`; none where nothing does."""
    found: dict[str, None] = {}
    for shape in shapes:
        if shape.startswith(ANY):
            found[shape.removeprefix(ANY)] = None
            continue
        fields = _fields().get(shape, {})
        found |= dict.fromkeys(fields.values() if name == ANY else [fields[name]] if name in fields else [])
    return list(found)
