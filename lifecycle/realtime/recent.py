"""The last hour of usage, sample by sample, in Redis: a ring of slots for each subject, forgotten by itself.

A subject is a VM, a host, or a project on a host. A slot is 28 bytes and holds its moment, so that what a ring
held an hour ago is never taken for news. Without Redis nothing is kept and nothing waits.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from redis import Redis, RedisError

from lifecycle.domain.usage import SAMPLE_BYTES, STEP, Values, pack_sample, unpack_samples

log = logging.getLogger(__name__)

#: Slots of a ring: one hour and a little.
SLOTS: Final = 366
#: A ring nobody writes to is forgotten after so many seconds.
FORGOTTEN: Final = 7200
#: How long somebody who watches a subject is remembered without saying so again, in seconds.
WATCHED: Final = 60
_TIMEOUT_SECONDS: Final = 2.0
#: Subjects of one round trip.
_BATCH: Final = 2000


class Unavailable(Exception):
    """Redis does not answer: what happened in the last hour cannot be told."""


def vm_subject(vm_id: UUID) -> str:
    """The subject of a VM."""
    return f"vm_{vm_id}"


def host_subject(host_id: int) -> str:
    """The subject of a host."""
    return f"host_{host_id}"


def project_subject(project_id: int) -> str:
    """The subject of a project, which somebody looks at."""
    return f"project_{project_id}"


def part_subject(project_id: int, host_id: int) -> str:
    """The subject of a project's VMs on one host, of which samples are kept."""
    return f"project_{project_id}_{host_id}"


def keep(at: int, samples: Mapping[str, Values]) -> None:
    """Write the samples of one moment (Unix time). Raises `Unavailable`."""
    offset = at // STEP % SLOTS * SAMPLE_BYTES
    try:
        for batch in _batches(samples):
            with _redis().pipeline(transaction=False) as pipe:
                for subject in batch:
                    pipe.setrange(_key(subject), offset, pack_sample(at, samples[subject]))
                    pipe.expire(_key(subject), FORGOTTEN)
                pipe.execute()
    except (RedisError, OSError) as error:
        raise Unavailable(str(error)) from error


def read(subjects: Iterable[str], seconds: float) -> dict[str, list[tuple[int, Values]]]:
    """The samples of the last `seconds`, oldest first, by subject. Raises `Unavailable`."""
    names = list(subjects)
    if not names:
        return {}
    since = int(time.time() - seconds)
    try:
        found: list[Any] = _redis().mget([_key(name) for name in names])
    except (RedisError, OSError) as error:
        raise Unavailable(str(error)) from error
    return {name: unpack_samples(raw or b"", since) for name, raw in zip(names, found, strict=True)}


def keep_latest(host_id: int, at: int, values: Mapping[UUID, Values]) -> None:
    """Put the last sample of all VMs of a host in one place, for whoever wants all at once. Raises `Unavailable`."""
    try:
        with _redis().pipeline(transaction=True) as pipe:
            pipe.delete(_latest_key(host_id))
            if values:
                pipe.hset(_latest_key(host_id), mapping={vm.bytes: pack_sample(at, v) for vm, v in values.items()})
                pipe.expire(_latest_key(host_id), WATCHED)
            pipe.execute()
    except (RedisError, OSError) as error:
        raise Unavailable(str(error)) from error


def latest(host_ids: Iterable[int]) -> dict[UUID, tuple[int, Values]]:
    """The last sample of every VM of some hosts: one round trip. Raises `Unavailable`."""
    try:
        with _redis().pipeline(transaction=False) as pipe:
            for host_id in host_ids:
                pipe.hgetall(_latest_key(host_id))
            found: list[dict[bytes, bytes]] = pipe.execute()
    except (RedisError, OSError) as error:
        raise Unavailable(str(error)) from error
    return {UUID(bytes=vm): unpack_samples(raw, 0)[0] for host in found for vm, raw in host.items()}


def watch(subject: str) -> None:
    """Somebody looks at the subject's live chart now. Raises `Unavailable`."""
    try:
        _redis().zadd(_watched_key(), {subject: time.time() + WATCHED})
    except (RedisError, OSError) as error:
        raise Unavailable(str(error)) from error


def watched() -> set[str]:
    """The subjects somebody looks at. Raises `Unavailable`."""
    try:
        client = _redis()
        client.zremrangebyscore(_watched_key(), "-inf", time.time())
        names: list[Any] = client.zrange(_watched_key(), 0, -1)
    except (RedisError, OSError) as error:
        raise Unavailable(str(error)) from error
    return {name.decode() for name in names}


def _batches(samples: Mapping[str, Values]) -> Iterable[list[str]]:
    names = list(samples)
    return (names[start : start + _BATCH] for start in range(0, len(names), _BATCH))


def _key(subject: str) -> str:
    return f"vmportal-{settings.INSTALLATION_ID}:usage:{subject}"


def _latest_key(host_id: int) -> str:
    return f"vmportal-{settings.INSTALLATION_ID}:usage-latest:{host_id}"


def _watched_key() -> str:
    return f"vmportal-{settings.INSTALLATION_ID}:usage-watched"


def _redis() -> Redis:
    layer: Any = settings.CHANNEL_LAYERS["default"]
    return _client(layer["CONFIG"]["hosts"][0]["address"])


@lru_cache(maxsize=4)
def _client(url: str) -> Redis:
    """One client, with its pool of connections, a process and address."""
    connect_seconds = settings.REDIS_TIMEOUT_SECONDS
    return Redis.from_url(url, socket_connect_timeout=connect_seconds, socket_timeout=_TIMEOUT_SECONDS)
