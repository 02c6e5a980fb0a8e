"""The gateway process: consoles, and nothing else. A hung host can hurt only what is streamed here."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")
django.setup()  # first: it loads the applications that the imports below need

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from lifecycle.realtime.origins import OriginCheck  # noqa: E402
from lifecycle.realtime.routing import nowhere  # noqa: E402
from lifecycle.telemetry.consoles.gateway import Beside, Gateway  # noqa: E402
from vmportal.origins import allowed_origins  # noqa: E402

_beside = Beside()
_consoles = URLRouter(
    [
        path("ws/consoles/<uuid:vm_id>/<slug:kind>/", Gateway()),  # type: ignore[arg-type]  # ASGI, no view
        re_path(r"", nowhere),  # type: ignore[arg-type]
    ]
)

application = ProtocolTypeRouter(
    {
        "http": _beside.http,
        "lifespan": _beside.lifespan,
        # Checked here too, although the web process has: whoever reaches this socket past it gets no further.
        "websocket": OriginCheck(
            SessionMiddlewareStack(_consoles),
            allowed_origins(settings.PUBLIC_URL, settings.CSRF_TRUSTED_ORIGINS, settings.LISTEN),
        ),
    }
)
