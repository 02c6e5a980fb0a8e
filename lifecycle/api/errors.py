"""Refusals in Google's shape: `{"error": {code, message, errors: [{message, domain, reason}]}}`."""

from http import HTTPStatus
from typing import Any, Final

from django.http import JsonResponse

from lifecycle.api.schemas import Error, ErrorDetail, ErrorItem, OperationErrorItem
from lifecycle.domain.errors import DomainError, HypervisorError

#: The product's metrics by Compute Engine's names; memory has none there.
METRICS: Final = {"vms": "INSTANCES", "vcpus": "CPUS", "memory_mib": "MEMORY_MIB", "disk_gib": "DISKS_TOTAL_GB"}

_REASONS: Final = {
    "INVALID_INPUT": "invalid",
    "NOT_FOUND": "notFound",
    "FORBIDDEN": "forbidden",
    "ALREADY_EXISTS": "alreadyExists",
    "ACTION_NOT_ALLOWED": "operationNotAllowed",
    "OPERATION_IN_PROGRESS": "resourceNotReady",
    "STATE_CONFLICT": "resourceNotReady",
    "DELETION_PROTECTED": "resourceInUseByAnotherResource",
    "CONDITION_NOT_MET": "conditionNotMet",
    "REQUEST_ID_REUSED": "duplicate",
    "QUOTA_EXCEEDED": "quotaExceeded",
    "ZONE_RESOURCE_POOL_EXHAUSTED": "resourcePoolExhausted",
}
#: Google's canonical names of statuses.
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    413: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """A refusal that the API itself makes. `headers` go with the answer."""

    def __init__(self, code: int, reason: str, message: str, *, location: str = "", **headers: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.location = location
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def invalid(field: str, value: object, why: str, reason: str = "invalid") -> ApiError:
    """A value that is not possible, in Google's words."""
    shown = str(value)[:200]
    return ApiError(400, reason, f"Invalid value for field '{field}': '{shown}'. {why}", location=field)


def unsupported(what: str, why: str) -> ApiError:
    """Something Compute Engine has and this product has not: never a silent success."""
    return ApiError(400, "unsupportedOperation", f"{what} is not supported here: {why}")


def not_found(resource: str) -> ApiError:
    """A resource that is not there, or that this person may not see: the two are never told apart."""
    return ApiError(404, "notFound", f"The resource '{resource}' was not found")


def too_large() -> ApiError:
    """A body that is not read."""
    return ApiError(413, "requestTooLarge", "The request is larger than 2 MiB.")


def response_of(error: Exception) -> JsonResponse:
    """The HTTP answer to a refusal."""
    if isinstance(error, DomainError):
        return _response(_body_of(error))
    if isinstance(error, ApiError):
        item: ErrorItem = {"message": error.message, "domain": "global", "reason": error.reason}
        if error.location:
            item |= {"location": error.location, "locationType": "parameter"}
        response = _response(_shape(error.code, error.message, item))
        for name, value in error.headers.items():
            response[name] = value
        return response
    message = "Internal error. The operators of this installation find it in their log."
    return _response(_shape(500, message, {"message": message, "domain": "global", "reason": "internalError"}))


def _body_of(error: DomainError) -> Error:
    """A refusal of the domain, with its details."""
    domain = "usageLimits" if error.code == "QUOTA_EXCEEDED" else "global"
    reason = _REASONS.get(error.code, "invalid")
    item: ErrorItem = {"message": error.text, "domain": domain, "reason": reason}
    if error.field:
        item |= {"location": error.field, "locationType": "parameter"}
    body = _shape(error.http_status, error.text, item)
    if details := details_of(error.as_dict()):
        body["error"]["details"] = [dict(detail) for detail in details]
    return body


def _shape(code: int, message: str, item: ErrorItem) -> Error:
    return {"error": {"code": code, "message": message, "status": _STATUSES.get(code, "UNKNOWN"), "errors": [item]}}


def _response(body: Error) -> JsonResponse:
    return JsonResponse(body, status=body["error"]["code"], headers={"Cache-Control": "private, no-store"})


# -- errors of operations --------------------------------------------------------------------------


def http_status_of(code: str) -> int:
    """The HTTP status that stands for an operation's error code."""
    return _STATUS_BY_CODE.get(code, 500)


def http_message_of(status: int) -> str:
    """That status in words, as Compute Engine writes them."""
    return HTTPStatus(status).phrase.upper()


def operation_error(error: dict[str, Any]) -> OperationErrorItem:
    """An operation's kept error on the wire."""
    message = str(error.get("message", ""))
    if reasons := error.get("reasons"):
        message += " " + "; ".join(f"{host}: {why}" for host, why in reasons.items())
    item: OperationErrorItem = {"code": str(error.get("code", "INTERNAL_ERROR")), "message": message}
    if error.get("field"):
        item["location"] = str(error["field"])
    if details := details_of(error):
        item["errorDetails"] = details
    return item


def details_of(error: dict[str, Any]) -> list[ErrorDetail]:
    """Which quota, or host by host why none fitted."""
    params = error.get("params") or {}
    if error.get("code") == "QUOTA_EXCEEDED":
        metric = METRICS.get(str(params.get("metric")), str(params.get("metric")))
        return [
            {
                "quotaInfo": {
                    "metricName": f"compute.googleapis.com/{metric.lower()}",
                    "limitName": metric,
                    "limit": float(params.get("limit", 0)),
                    "dimensions": {"scope": str(params.get("scope", "")), "usage": str(params.get("usage", ""))},
                }
            }
        ]
    if reasons := error.get("reasons"):
        hosts = {str(host): str(why) for host, why in reasons.items()}
        return [{"errorInfo": {"reason": str(error["code"]), "domain": "compute.googleapis.com", "metadatas": hosts}}]
    return []


def _every(family: type[Any]) -> list[type[Any]]:
    return [family, *(deeper for child in family.__subclasses__() for deeper in _every(child))]


_STATUS_BY_CODE: Final[dict[str, int]] = {
    **{kind.code: kind.http_status for kind in _every(DomainError)},
    **{kind.code: 503 if kind.retry else 500 for kind in _every(HypervisorError)},
}
