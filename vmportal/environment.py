"""Reads what the environment and the state directory say; used by the settings alone."""

import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

UNKNOWN_INSTALLATION = "000000"
SQLITE_BUSY_SECONDS = 20
# synchronous=FULL: a commit that was answered survives a power cut (a worker acts on it at once).
SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"


def read_line(path: Path, default: str = "") -> str:
    """The first line of a small file, or `default` where there is none."""
    try:
        return path.read_text(encoding="utf-8").split("\n", 1)[0].strip() or default
    except OSError:
        return default


def installation_id(value: str) -> str:
    """`value` when it is six hex characters.

    Raises ValueError otherwise: the id stands in the names of domains, networks and pools.
    """
    if not re.fullmatch(r"[0-9a-f]{6}", value):
        raise ValueError(f"VMPORTAL_INSTALLATION must be six hex characters, not {value!r}")
    return value


def with_database_defaults(database: dict[str, Any]) -> dict[str, Any]:
    """`database` with the options under which both engines give the same guarantees."""
    options: dict[str, Any] = dict(database.get("OPTIONS") or {})
    if database["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE: a transaction that reads and then writes waits for its turn instead of failing half-way.
        options = {
            "timeout": SQLITE_BUSY_SECONDS,
            "transaction_mode": "IMMEDIATE",
            "init_command": SQLITE_PRAGMAS,
            **options,
        }
        # A file: tests with several connections need what a shared in-memory database does not do.
        test_database = Path(tempfile.gettempdir()) / f"vmportal-test-{os.getpid()}.sqlite3"
        database = {**database, "TEST": {"NAME": str(test_database)}}
    else:
        database.setdefault("CONN_HEALTH_CHECKS", True)
        options.setdefault("connect_timeout", 5)
    return {**database, "OPTIONS": options, "ATOMIC_REQUESTS": False}


def is_unix_redis(url: str) -> bool:
    """Whether the Redis of `url` is reached by a UNIX socket."""
    return urlsplit(url).scheme in {"unix", "redis+socket"}


def celery_broker(url: str) -> str:
    """The same Redis in Celery's spelling (`redis+socket://` for a UNIX socket)."""
    if not is_unix_redis(url):
        return url
    parts = urlsplit(url)
    query = f"?{parts.query.replace('db=', 'virtual_host=')}" if parts.query else ""
    return f"redis+socket://{quote(unquote(parts.path))}{query}"


def channels_redis(url: str) -> str:
    """The same Redis in redis-py's spelling (`unix://` for a UNIX socket)."""
    return "unix://" + url.split("://", 1)[1] if is_unix_redis(url) else url


def own_addresses() -> list[str]:
    """This machine's addresses towards its networks, loopback apart; found without sending a packet."""
    found = []
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))  # a datagram socket only picks its route here
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    return found


def oidc_apps(env: environ.Env, url: str) -> list[dict[str, Any]]:
    """The identity provider for django-allauth; none without its address.

    Raises:
        ImproperlyConfigured: the address is there, and what belongs to it is not.
    """
    if not url:
        return []
    client, secret = env.str("VMPORTAL_OIDC_CLIENT_ID", default=""), env.str("VMPORTAL_OIDC_CLIENT_SECRET", default="")
    if not client or not secret:
        raise ImproperlyConfigured(
            "VMPORTAL_OIDC_URL is set: give VMPORTAL_OIDC_CLIENT_ID and VMPORTAL_OIDC_CLIENT_SECRET, too."
        )
    name = env.str("VMPORTAL_OIDC_NAME", default="OpenID Connect")
    app = {"provider_id": "oidc", "name": name, "client_id": client, "secret": secret}
    return [{**app, "settings": {"server_url": url}}]
