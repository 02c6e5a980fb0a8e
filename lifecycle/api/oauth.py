"""`POST /token`: an access token for what a key signed (RFC 7523), as Google's libraries ask for it."""

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_exempt

from lifecycle.domain.errors import Forbidden
from lifecycle.services import audit, rates, service_keys

PATH = "/token"


@csrf_exempt
def token(request: HttpRequest) -> HttpResponse:
    """Exchange an assertion. Refusals have OAuth's shape, which the libraries read."""
    if request.method != "POST":
        response = _refused("invalid_request", "An assertion is posted.", 405)
        response["Allow"] = "POST"
        return response
    if wait := rates.take(f"grant:{audit.origin().ip}", settings.API_CALLS_PER_MINUTE):
        response = _refused("temporarily_unavailable", f"Too many requests. Retry in {wait} seconds.", 429)
        response["Retry-After"] = str(wait)
        return response
    try:
        form = request.POST
    except (SuspiciousOperation, MultiPartParserError):
        return _refused("invalid_request", "The form is too large or malformed.")
    if form.get("grant_type") != service_keys.GRANT:
        return _refused("unsupported_grant_type", f"The grant type is {service_keys.GRANT}.")
    try:
        secret, seconds = service_keys.exchange(str(form.get("assertion", "")), token_uri())
    except Forbidden as error:
        return _refused("invalid_grant", error.text)
    response = JsonResponse({"access_token": secret, "token_type": "Bearer", "expires_in": seconds})
    response["Cache-Control"] = "no-store"
    return response


def token_uri() -> str:
    """Where keys of this installation are exchanged; also the audience of what they sign."""
    return f"{settings.PUBLIC_URL}{PATH}"


def _refused(code: str, text: str, status: int = 400) -> JsonResponse:
    response = JsonResponse({"error": code, "error_description": text}, status=status)
    response["Cache-Control"] = "no-store"
    return response
