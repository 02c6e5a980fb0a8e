"""The OpenAPI document, made from the registry of methods and the types of their answers: never written by hand."""

from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints, is_typeddict

from lifecycle.api import schemas
from lifecycle.api.registry import METHODS, Method
from lifecycle.domain.text import mark

ROOT: Final = "/compute/v1/"
_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    Any: {},
    schemas.Int64: {"type": "string", "format": "int64", "pattern": "^[0-9]+$"},
    schemas.Base64: {"type": "string", "format": "byte"},
    schemas.Time: {"type": "string", "format": "date-time"},
}
_ABOUT: Final = {
    "filter": mark("AIP-160, such as status = RUNNING AND name = web-*; or the older name eq web-.*"),
    "maxResults": mark("How many a page may hold: 0 to 500."),
    "orderBy": mark("name, or creationTimestamp desc."),
    "pageToken": mark("nextPageToken of the page before."),
    "returnPartialSuccess": mark("Means nothing here: a list is whole."),
    "includeAllScopes": mark("Means nothing here: every zone is named."),
    "requestId": mark("A UUID: the same again returns the same operation and does nothing twice."),
    "fields": mark("The part of the answer that is wanted, such as items(name,status),nextPageToken."),
    "discardLocalSsd": mark("Means nothing here: there are no local SSDs."),
    "start": mark("The byte to begin with: next of the answer before."),
    "port": "1.",
}


@cache
def document(server: str) -> dict[str, Any]:
    """The whole, for an installation at the address `server`."""
    components: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for method in METHODS.values():
        paths.setdefault(ROOT + method.path, {})[method.verb.lower()] = _operation(method, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vmportal Compute API",
            "version": "v1",
            "description": "A wire-compatible subset of the Compute Engine API v1.",
        },
        "servers": [{"url": server}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(method: Method, components: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"compute.{method.id}",
        "tags": [method.id.partition(".")[0]],
        "summary": method.summary,
        "parameters": [
            *({"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in method.parameters),
            *(_query(name) for name in (*method.query, "fields")),
        ],
        "responses": {
            "200": _content("What was asked for.", method.answer, components),
            "default": _content("A refusal.", schemas.Error, components),
        },
    }
    if method.body is not None:
        schema = schema_of(method.body, components)
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}, "required": False}
    return found


def _query(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name == "maxResults":
        schema = {"type": "integer", "minimum": 0, "maximum": 500}
    found = {"name": name, "in": "query", "schema": schema}
    return {**found, "description": _ABOUT[name]} if name in _ABOUT else found


def _content(text: str, kind: type, components: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema_of(kind, components)}}}


def schema_of(kind: Any, components: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a type; those with fields go into `components` under their names."""
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if get_origin(kind) is list:
        return {"type": "array", "items": schema_of(get_args(kind)[0], components)}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": schema_of(get_args(kind)[1], components)}
    if not is_typeddict(kind):
        raise TypeError(f"{kind} has no schema")
    name = kind.__name__
    if name not in components:
        components[name] = {}
        hints = get_type_hints(kind)
        components[name] = {
            "type": "object",
            "properties": {field: schema_of(hint, components) for field, hint in hints.items()},
            "additionalProperties": False,
        }
        if kind.__required_keys__:
            components[name]["required"] = sorted(kind.__required_keys__)
    return {"$ref": f"#/components/schemas/{name}"}
