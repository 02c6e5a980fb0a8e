"""Which address leads to which consumer."""

from django.conf import settings
from django.urls import path, re_path

from lifecycle.realtime.consumers import ProjectConsumer
from lifecycle.realtime.origins import Receive, Scope, Send, refuse
from lifecycle.realtime.relay import Relay
from lifecycle.realtime.usage import UsageConsumer


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Every other address: the handshake is answered with 403."""
    await refuse(receive, send)


websocket_urlpatterns = [
    path("ws/projects/<slug:slug>/", ProjectConsumer.as_asgi()),
    path("ws/consoles/<uuid:vm_id>/<slug:kind>/", Relay(settings.GATEWAY_ADDRESS)),  # type: ignore[arg-type]
    re_path(r"^ws/usage/(?P<kind>vms|projects|hosts)/(?P<name>[-\w]{1,63})/$", UsageConsumer.as_asgi()),
    re_path(r"", nowhere),  # type: ignore[arg-type]  # an ASGI application, not a view
]
