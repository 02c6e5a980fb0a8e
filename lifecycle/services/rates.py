"""How often somebody may ask: counted in Redis for all processes, in this process alone while Redis is away."""

import logging
import time
from functools import cache
from threading import Lock

import redis
from django.conf import settings

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
#: After a failure Redis is left alone for so long, so that a dead one costs a request nothing.
SILENT_SECONDS = 5.0

_silent_until = 0.0
_lock = Lock()
_counted: dict[tuple[str, int], int] = {}


def take(key: str, limit: int) -> int:
    """Count one request of `key`; 0 when it is within `limit` a minute, else the seconds until it may ask again."""
    now = time.time()
    window = int(now // WINDOW_SECONDS)
    if _counted_now(key, window) <= limit:
        return 0
    return max(1, int((window + 1) * WINDOW_SECONDS - now))


def first(key: str) -> bool:
    """Count one event of `key`; whether it is the first in this minute."""
    return _counted_now(key, int(time.time() // WINDOW_SECONDS)) == 1


def _counted_now(key: str, window: int) -> int:
    return _count(f"{settings.INSTALLATION_ID}:{key}", window)


def _count(key: str, window: int) -> int:
    global _silent_until
    if time.monotonic() >= _silent_until:
        try:
            return _count_in_redis(key, window)
        except (redis.RedisError, OSError) as error:
            _silent_until = time.monotonic() + SILENT_SECONDS
            log.warning("Redis does not count requests (%s); this process counts its own", error)
    with _lock:
        for old in [entry for entry in _counted if entry[1] != window]:
            del _counted[old]
        _counted[key, window] = _counted.get((key, window), 0) + 1
        return _counted[key, window]


def _count_in_redis(key: str, window: int) -> int:
    name = f"vmportal-rate-{key}:{window}"
    pipe = _client(settings.REDIS_URL).pipeline(transaction=False)
    pipe.incr(name)
    pipe.expire(name, 2 * WINDOW_SECONDS)
    return int(pipe.execute()[0])


@cache
def _client(url: str) -> redis.Redis:
    timeout = settings.REDIS_TIMEOUT_SECONDS
    return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
