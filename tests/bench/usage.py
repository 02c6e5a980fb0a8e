"""`python -m tests.bench.usage [N]`: what it costs to measure N running VMs (10,000) on one host of a test driver.

The test driver tells states alone, so the counters are made up here; the bulk call, the rates, Redis, the rows and
their sizes are real. Needs DATABASE_URL and REDIS_URL of its own: everything in them is changed.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

ROUNDS = 6


def domains(uuids: list[UUID]) -> str:
    """A test driver's node with running domains."""
    each = "".join(
        f"<domain type='test'><name>vm-{i}</name><uuid>{uuid}</uuid><memory>65536</memory><vcpu>1</vcpu>"
        "<os><type>hvm</type></os></domain>"
        for i, uuid in enumerate(uuids)
    )
    return f"<node>{each}</node>"


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fill(count: int) -> tuple[int, list[UUID]]:
    """Rows of so many running VMs in ten projects, on one host."""
    from lifecycle.models import VM, Project
    from tests import factories

    host = factories.make_host("bench", vcpus_total=10_000, memory_mib_total=10**6)
    projects: list[Project] = [factories.make_project() for _ in range(10)]
    model = factories.make_vm(projects[0], host=host)
    uuids = [uuid4() for _ in range(count)]
    shape: dict[str, Any] = {"zone": model.zone, "host": host, "machine_type": model.machine_type, "image": model.image}
    shape |= {"state": "RUNNING", "vcpus": 1, "memory_mib": 64}
    VM.objects.bulk_create(
        [
            VM(
                pk=uuid,
                name=f"vm-{i}",
                project=projects[i % 10],
                mac=f"52:54:00:{i >> 16:02x}:{i >> 8 & 255:02x}:{i & 255:02x}",
                **shape,
            )
            for i, uuid in enumerate(uuids)
        ],
        batch_size=2000,
    )
    return host.pk, uuids


def main(count: int) -> None:
    """Measure and print."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from redis import Redis

    from lifecycle.domain.usage import FIVE_MINUTES, HOUR, Counters
    from lifecycle.drivers.libvirt import connect
    from lifecycle.models import VMUsage
    from lifecycle.services import usage
    from lifecycle.telemetry.usage import Meter

    call_command("migrate", verbosity=0)
    host_id, uuids = fill(count)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "node.xml"
        file.write_text(domains(uuids))
        hypervisor = connect(f"test://{file}", "abcdef")
        calls = [timed(hypervisor.counters) for _ in range(ROUNDS)]
        assert len(hypervisor.counters()) == count
    meter = Meter(host_id, hypervisor)
    begin = int(time.time()) // HOUR * HOUR - 2 * HOUR

    def look(index: int) -> None:
        at = begin + 10 * index
        meter.take(at, {u: Counters(float(at), 1, at * 10**8, 50.0, at * 999, at * 99, at * 9, at) for u in uuids})

    look(0)
    takes = [timed(lambda index=index: look(index)) for index in range(1, ROUNDS)]  # type: ignore[misc]
    flush = timed(meter.flush)
    for index in range(1, 12):
        rows = VMUsage.objects.filter(length=FIVE_MINUTES, begin=begin).values_list("vm_id", "packed")
        VMUsage.objects.bulk_create(
            [
                VMUsage(vm_id=vm, length=FIVE_MINUTES, begin=begin + index * FIVE_MINUTES, packed=bytes(packed))
                for vm, packed in rows
            ],
            batch_size=5000,
        )
    hours = timed(lambda: usage.sum_up_hours(begin + HOUR))
    layer: Any = settings.CHANNEL_LAYERS["default"]
    redis: Any = Redis.from_url(layer["CONFIG"]["hosts"][0]["address"])
    ring = redis.memory_usage(redis.keys("*:usage:vm_*")[0])
    print(f"VMs: {count}; database: {connection.vendor}")
    print(f"bulk call: {statistics.median(calls) * 1000:.0f} ms")
    print(f"rates, sums and Redis, every 10 s: {statistics.median(takes) * 1000:.0f} ms")
    print(f"rows of five minutes, every 300 s: {flush * 1000:.0f} ms")
    print(f"summing up an hour, every 3600 s: {hours * 1000:.0f} ms")
    print(f"rows a day: {count * 288} of five minutes, {count * 24} of an hour")
    print(f"a VM in Redis now: {ring} B; a full ring is 366 x 28 B = 10248 B")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE lifecycle_vmusage")
            cursor.execute("SELECT pg_total_relation_size('lifecycle_vmusage'), count(*) FROM lifecycle_vmusage")
            size, number = cursor.fetchone() or (0, 1)
        print(f"bytes a row, indexes included: {size / number:.0f}")
    print(f"largest memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
