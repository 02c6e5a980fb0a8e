"""From which pages a browser may open a websocket to us."""

from urllib.parse import urlsplit

from vmportal.production import is_loopback

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def allowed_origins(public_url: str, trusted: list[str], listen: str) -> list[str]:
    """The origins of our own pages, port and scheme included.

    Another service on the same machine has our host name, so a host alone is not enough.
    """
    public = urlsplit(public_url)
    origins = [f"{public.scheme}://{public.netloc}", *trusted]
    if is_loopback(public.hostname or "") and is_loopback(listen):
        port = f":{public.port}" if public.port else ""
        origins += [f"{public.scheme}://{name}{port}" for name in LOOPBACK_NAMES]
    return list(dict.fromkeys(origins))
