"""Reading a request's body: the type of each value, with the field's own path in the refusal."""

from collections.abc import Iterable, Mapping
from typing import Any

from lifecycle.api.errors import ApiError, invalid, unsupported


def text(body: Mapping[str, Any], name: str, path: str, default: str = "") -> str:
    """A string."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise invalid(f"{path}.{name}", value, "It must be a string.")
    return value


def flag(body: Mapping[str, Any], name: str, path: str, *, default: bool) -> bool:
    """true or false."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise invalid(f"{path}.{name}", value, "It must be true or false.")
    return value


def number(body: Mapping[str, Any], name: str, path: str) -> int | None:
    """A whole number, also as a string as 64-bit integers are; None when it is not there."""
    value = body.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise invalid(f"{path}.{name}", value, "It must be a whole number.")
    return value


def mapping(body: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    """An object; an empty one when it is not there."""
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise invalid(f"{path}.{name}", value, "It must be an object.")
    return value


def words(body: Mapping[str, Any], name: str, path: str) -> dict[str, str]:
    """An object of strings; an empty one when it is not there."""
    value = mapping(body, name, path)
    if not all(isinstance(item, str) for item in value.values()):
        raise invalid(f"{path}.{name}", value, "Its values must be strings.")
    return value


def items(body: Mapping[str, Any], name: str, path: str) -> list[dict[str, Any]]:
    """A list of objects; an empty one when it is not there."""
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(f"{path}.{name}", value, "It must be a list of objects.")
    return value


def texts(body: Mapping[str, Any], name: str, path: str) -> list[str]:
    """A list of strings; an empty one when it is not there."""
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"{path}.{name}", value, "It must be a list of strings.")
    return value


def only(body: Mapping[str, Any], path: str, known: Iterable[str], refused: Mapping[str, str]) -> None:
    """Refuse what would be ignored: fields in `refused` unless they ask for nothing, and fields nobody knows.

    Raises:
        ApiError: with the reason of the first that is not supported.
    """
    allowed = set(known)
    for name, value in body.items():
        if name in refused:
            if not _asks_for_nothing(value):
                raise unsupported(f"{path}.{name}", refused[name])
        elif name not in allowed:
            raise ApiError(
                400,
                "invalid",
                f"Invalid JSON payload received. Unknown name \"{name[:100]}\" at '{path}': Cannot find field.",
                location=path,
            )


def without(query: Mapping[str, str], refused: Mapping[str, str]) -> None:
    """Refuse query parameters that would be ignored, unless they ask for nothing.

    Raises:
        ApiError: with the reason of the first that is not supported.
    """
    for name, why in refused.items():
        if query.get(name, "").lower() not in {"", "false"}:
            raise unsupported(name, why)


def _asks_for_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_asks_for_nothing(item) for item in value.values())
    return value in (None, False, "", 0, "0", []) or (isinstance(value, list) and all(map(_asks_for_nothing, value)))
