"""/docs/api: every method on one page, and the OpenAPI document it is made of. Open to everybody who can reach it."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from lifecycle.api import openapi
from lifecycle.api.registry import METHODS, Method


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The methods by resource, with parameters and the fields of what they take and answer."""
    document = openapi.document(settings.PUBLIC_URL)
    groups: dict[str, list[dict[str, Any]]] = {}
    for method in METHODS.values():
        groups.setdefault(method.id.partition(".")[0], []).append(_shown(method, document))
    schemas = [
        {"name": name, "fields": [(field, _type(s)) for field, s in schema["properties"].items()]}
        for name, schema in document["components"]["schemas"].items()
    ]
    context = {"groups": groups, "schemas": schemas, "root": f"{settings.PUBLIC_URL}{openapi.ROOT}"}
    return render(request, "api/docs.html", context)


@require_safe
def openapi_json(_request: HttpRequest) -> HttpResponse:
    """The OpenAPI document."""
    return JsonResponse(openapi.document(settings.PUBLIC_URL))


def _shown(method: Method, document: dict[str, Any]) -> dict[str, Any]:
    operation = document["paths"][openapi.ROOT + method.path][method.verb.lower()]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return {
        "id": method.id,
        "verb": method.verb,
        "path": method.path,
        "summary": _(method.summary),
        "query": [
            {"name": parameter["name"], "description": _told(parameter.get("description", ""))}
            for parameter in operation["parameters"]
            if parameter["in"] == "query" and parameter["name"] != "fields"
        ],
        "answer": _type(answer),
        "body": _type(body) if body else "",
    }


def _told(text: str) -> str:
    """In the reader's language; the empty text stays empty, which for gettext is the catalogue's head."""
    return _(text) if text else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"[{_type(schema['items'])}]"
    if schema.get("type") == "object":
        return f"{{name: {_type(schema['additionalProperties'])}}}"
    return " ".join(str(schema[key]) for key in ("type", "format") if key in schema) or "any"
