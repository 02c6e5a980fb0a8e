"""The web process: HTTP by Django, live updates by Channels' websockets."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")
django_application = get_asgi_application()  # first: it loads the applications that the imports below need

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.conf import settings  # noqa: E402

from lifecycle.api.live import admit  # noqa: E402
from lifecycle.api.waiting import Waiting  # noqa: E402
from lifecycle.realtime.origins import OriginCheck  # noqa: E402
from lifecycle.realtime.programs import TokenDoor  # noqa: E402
from lifecycle.realtime.routing import websocket_urlpatterns  # noqa: E402
from vmportal.origins import allowed_origins  # noqa: E402

routes = SessionMiddlewareStack(URLRouter(websocket_urlpatterns))
origins = allowed_origins(settings.PUBLIC_URL, settings.CSRF_TRUSTED_ORIGINS, settings.LISTEN)
application = ProtocolTypeRouter(
    {
        "http": Waiting(django_application),  # type: ignore[arg-type]  # it says dict for any mapping
        "websocket": TokenDoor(OriginCheck(routes, origins), routes, admit),
    }
)
