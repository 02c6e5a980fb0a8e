"""`/metrics`, for Prometheus with its token and for operators with their session."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from prometheus_client.exposition import choose_encoder

from lifecycle.web.metrics import registry

OFF = "Metrics are off. Set VMPORTAL_METRICS_TOKEN and send it as a bearer token, or sign in as an operator.\n"
WRONG = "Send the value of VMPORTAL_METRICS_TOKEN as a bearer token.\n"


@require_GET
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics as text. Without a token in the settings, only for operators who are signed in."""
    user = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff) and not _token_fits(request):
        if not settings.METRICS_TOKEN:
            return HttpResponse(OFF, status=404, content_type="text/plain; charset=utf-8")
        refused = HttpResponse(WRONG, status=401, content_type="text/plain; charset=utf-8")
        refused["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return refused
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry()), content_type=content_type)


def _token_fits(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.METRICS_TOKEN
    return bool(wanted) and scheme.lower() == "bearer" and constant_time_compare(token.strip(), wanted)
