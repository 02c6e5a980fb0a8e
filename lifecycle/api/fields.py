"""`fields`: the part of an answer that the client wants, as `items(name,status),nextPageToken` or `items/name`."""

from collections.abc import Sequence
from typing import Any

from lifecycle.api import answers
from lifecycle.api.answers import ANY
from lifecycle.api.errors import ApiError, invalid

#: By their names, the fields that are wanted and what of each; empty for all of it.
Mask = dict[str, "Mask"]
_DEPTH_MAX = 20


def parse(text: str, answer: str) -> Mask:
    """The mask for an answer of that name; an empty one keeps everything.

    Raises:
        ApiError: the text is no mask, or names a field that such an answer never has.
    """
    if not text.strip():
        return {}
    mask, rest = _selection(text.replace(" ", ""), 0)
    if rest:
        raise _wrong(text)
    _check(mask, [answer], "")
    return mask


def _selection(text: str, depth: int) -> tuple[Mask, str]:
    if depth > _DEPTH_MAX:
        raise _wrong(text)
    mask: Mask | None = None
    while text:
        path, text = _path(text)
        below: Mask = {}
        if text.startswith("("):
            below, text = _selection(text[1:], depth + 1)
            if not text.startswith(")"):
                raise _wrong(text)
            text = text[1:]
        mask = _both(mask, _nested(path, below))
        if not text.startswith(","):
            break
        text = text[1:]
    return mask or {}, text


def _path(text: str) -> tuple[list[str], str]:
    end = next((index for index, character in enumerate(text) if character in ",()"), len(text))
    words = text[:end].split("/")
    if not all(word and all(c.isalnum() or c in "*_-." for c in word) for word in words) or len(words) > _DEPTH_MAX:
        raise _wrong(text)
    return words, text[end:]


def _nested(path: Sequence[str], below: Mask) -> Mask:
    for word in reversed(path):
        below = {word: below}
    return below


def _both(one: Mask | None, other: Mask | None) -> Mask:
    """What either of two masks keeps; None keeps nothing."""
    if one is None or other is None:
        return one or other or {}
    if not one or not other:
        return {}
    return {name: _both(one.get(name), other.get(name)) for name in one | other}


def _check(mask: Mask, shapes: Sequence[str], path: str) -> None:
    for name, below in mask.items():
        found = answers.below(shapes, name)
        if not found:
            raise _unknown(f"{path}{name}")
        _check(below, found, f"{path}{name}/")


def apply(mask: Mask, value: Any) -> Any:
    """`value` with what the mask names and nothing else; for a list, that of each member."""
    if not mask:
        return value
    if isinstance(value, list):
        return [apply(mask, item) for item in value if isinstance(item, dict | list)]
    found = {}
    for name, item in value.items():
        if name not in mask and ANY not in mask:
            continue
        below = _both(mask.get(name), mask.get(ANY))
        if not below:
            found[name] = item
        elif isinstance(item, dict | list):
            found[name] = apply(below, item)
    return found


def _unknown(name: str) -> ApiError:
    """In Google's words."""
    return ApiError(400, "invalidParameter", f"Invalid field selection {name[:200]}", location="fields")


def _wrong(text: str) -> ApiError:
    why = "It is not a field mask, such as items(name,status),nextPageToken."
    return invalid("fields", text, why, "invalidParameter")
