"""`fields`: the part of an answer that the client wants, as `items(name,status),nextPageToken` or `items/name`."""

from typing import Any

from lifecycle.api.errors import invalid

Mask = dict[str, "Mask"]
_DEPTH_MAX = 20


def parse(text: str) -> Mask:
    """The mask; an empty one, as `*`, keeps everything.

    Raises:
        ApiError: the text is no mask.
    """
    mask, rest = _selection(text.replace(" ", ""), 0)
    if rest:
        raise _wrong(text)
    return mask


def _selection(text: str, depth: int) -> tuple[Mask, str]:
    if depth > _DEPTH_MAX:
        raise _wrong(text)
    mask: Mask = {}
    while text:
        path, text = _path(text)
        below: Mask = {}
        if text.startswith("("):
            below, text = _selection(text[1:], depth + 1)
            if not text.startswith(")"):
                raise _wrong(text)
            text = text[1:]
        _merge(mask, path, below)
        if not text.startswith(","):
            break
        text = text[1:]
    return mask, text


def _path(text: str) -> tuple[list[str], str]:
    end = next((index for index, character in enumerate(text) if character in ",()"), len(text))
    words = text[:end].split("/")
    if not all(word and all(c.isalnum() or c in "*_-." for c in word) for word in words) or len(words) > _DEPTH_MAX:
        raise _wrong(text)
    return words, text[end:]


def _merge(mask: Mask, path: list[str], below: Mask) -> None:
    for word in path[:-1]:
        mask = mask.setdefault(word, {})
    mask.setdefault(path[-1], {}).update(below)


def apply(mask: Mask, value: Any) -> Any:
    """`value` with what the mask names and nothing else."""
    if not mask or "*" in mask:
        below = mask.get("*", {})
        return apply_each(below, value) if below else value
    if isinstance(value, list):
        return [apply(mask, item) for item in value]
    if isinstance(value, dict):
        return {key: apply(mask[key], item) for key, item in value.items() if key in mask}
    return value


def apply_each(mask: Mask, value: Any) -> Any:
    """`*` with something below: the mask for every value of a map."""
    if isinstance(value, dict):
        return {key: apply(mask, item) for key, item in value.items()}
    return apply(mask, value)


def _wrong(text: str) -> Exception:
    return invalid("fields", text, "It is not a field mask, such as items(name,status),nextPageToken.")
