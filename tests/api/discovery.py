"""Google's own description of the Compute API, as google-api-python-client ships it: what answers are held against."""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, cast

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "array": list,
    "any": object,
}


@cache
def document() -> dict[str, Any]:
    """The discovery document of compute v1."""
    path = files("googleapiclient") / "discovery_cache" / "documents" / "compute.v1.json"
    return cast(dict[str, Any], json.loads(path.read_text()))


def method(name: str) -> dict[str, Any]:
    """A method by its name without the prefix, such as `instances.get`."""
    resource, _, verb = name.rpartition(".")
    return cast(dict[str, Any], document()["resources"][resource]["methods"][verb])


def violations(value: Any, schema: dict[str, Any], at: str = "$") -> list[str]:
    """What of `value` the schema does not allow: wrong types, unknown fields, unknown words of an enumeration."""
    if "$ref" in schema:
        schema = document()["schemas"][schema["$ref"]]
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind in {"integer", "number"}):
        return [f"{at}: {value!r} is no {kind}"]
    if isinstance(value, dict):
        return _of_object(value, schema, at)
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in violations(item, schema["items"], f"{at}[{i}]")]
    return _of_scalar(value, schema, at)


def _of_object(value: dict[str, Any], schema: dict[str, Any], at: str) -> list[str]:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties")
    found = []
    for key, item in value.items():
        inner = properties.get(key, more)
        found += [f"{at}.{key}: unknown field"] if inner is None else violations(item, inner, f"{at}.{key}")
    return found


def _of_scalar(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    import base64
    import re

    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not one of its words")
    form = schema.get("format")
    if form in {"int64", "uint64"} and not re.fullmatch(r"-?\d{1,20}", value):
        found.append(f"{at}: {value!r} is no 64-bit integer in a string")
    if form == "byte" and base64.urlsafe_b64encode(base64.urlsafe_b64decode(value)).decode() != value:
        found.append(f"{at}: {value!r} is not base64")
    if "pattern" in schema and schema["type"] == "string" and not re.fullmatch(schema["pattern"], value):
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")
    return found


# -- what `fields` may name ------------------------------------------------------------------------


def answer_fields(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The fields of the schemas of those names and of all that they hold, as `lifecycle.api.answers` keeps them."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        _add_fields(found, name, document()["schemas"][name])
    return dict(sorted(found.items()))


def _add_fields(found: dict[str, dict[str, str]], name: str, schema: dict[str, Any]) -> None:
    if name in found:
        return
    found[name] = {}
    for field, inner in schema["properties"].items():
        found[name][field] = _shape(found, f"{name}.{field}", inner)


def _shape(found: dict[str, dict[str, str]], name: str, schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        _add_fields(found, schema["$ref"], document()["schemas"][schema["$ref"]])
        return str(schema["$ref"])
    if schema["type"] == "array":
        return _shape(found, name, schema["items"])
    if "properties" in schema:
        _add_fields(found, name, schema)
        return name
    if "additionalProperties" in schema:
        return "*" + _shape(found, name, schema["additionalProperties"])
    return ""
