"""What the installation tells Prometheus: families made of rows at each scrape, by a constant number of queries."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.db.models import Count, DurationField, ExpressionWrapper, F, Q, Sum
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from lifecycle.domain.states import State
from lifecycle.domain.usage import SERIES, Values
from lifecycle.models import VM, Alert, Host, Operation, Repair
from lifecycle.realtime import recent
from lifecycle.services import operations

#: Upper bounds of the durations of operations, in seconds.
BUCKETS: Final = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900)
_MIB: Final = 2**20

#: Series of usage: metric, help, label of the direction, factor.
_USAGE: Final = {
    "cpu": ("vmportal_vm_cpu_cores", "CPU used by a VM, in cores.", None, 1),
    "memory": ("vmportal_vm_memory_used_bytes", "Memory in use inside a VM, as its balloon driver tells.", None, _MIB),
    "disk_read": ("vmportal_vm_disk_bytes_per_second", "Disk traffic of a VM.", "read", 1),
    "disk_write": ("vmportal_vm_disk_bytes_per_second", "Disk traffic of a VM.", "write", 1),
    "net_in": ("vmportal_vm_network_bytes_per_second", "Network traffic of a VM.", "receive", 1),
    "net_out": ("vmportal_vm_network_bytes_per_second", "Network traffic of a VM.", "transmit", 1),
}


class Rows(Collector):
    """Collects everything from the database, and the last usage of each VM from Redis."""

    def collect(self) -> Iterator[Metric]:
        """All families; what Redis would tell is left out while it does not answer."""
        hosts = list(Host.objects.select_related("zone").order_by("name"))
        rows = VM.objects.live().values("pk", "name", "state", "project__slug", "host__name").order_by("pk")
        vms: list[dict[str, Any]] = [dict(row) for row in rows]
        yield from _vms(vms)
        yield from _hosts(hosts)
        yield from _usage(hosts, vms)
        yield from _queue()
        yield from _operations()
        yield from _repairs()
        yield from _alerts()


def registry() -> CollectorRegistry:
    """A registry of ours alone: nothing of this process, which is one of many."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Rows())
    return made


def _vms(vms: list[dict[str, Any]]) -> Iterator[Metric]:
    counts = dict.fromkeys((s.value for s in State), 0)
    states = GaugeMetricFamily("vmportal_vm_state", "1 for the state a VM is in.", labels=["project", "vm", "state"])
    for vm in vms:
        counts[vm["state"]] += 1
        states.add_metric([vm["project__slug"], vm["name"], vm["state"]], 1)
    family = GaugeMetricFamily("vmportal_vms", "VMs by state.", labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    yield family
    yield states


def _hosts(hosts: list[Host]) -> Iterator[Metric]:
    up = GaugeMetricFamily("vmportal_host_up", "1 while a host answers.", labels=["host", "zone"])
    seen = GaugeMetricFamily("vmportal_host_last_seen_timestamp_seconds", "When it answered last.", labels=["host"])
    reserved = GaugeMetricFamily("vmportal_host_reserved", "Reserved for VMs.", labels=["host", "resource"])
    limit = GaugeMetricFamily("vmportal_host_limit", "May be reserved in all.", labels=["host", "resource"])
    for host in hosts:
        up.add_metric([host.name, host.zone.name], host.health == Host.Health.UP)
        if host.last_seen_at:
            seen.add_metric([host.name], host.last_seen_at.timestamp())
        for resource, scale in (("vcpus", 1), ("memory_mib", _MIB), ("disk_gib", 2**30)):
            labels = [host.name, resource.partition("_")[0] + ("_bytes" if scale > 1 else "")]
            reserved.add_metric(labels, getattr(host, f"{resource}_reserved") * scale)
            limit.add_metric(labels, getattr(host, f"{resource}_limit") * scale)
    yield from (up, seen, reserved, limit)


def _usage(hosts: list[Host], vms: list[dict[str, Any]]) -> Iterator[Metric]:
    """The last sample of each VM. A VM of which nothing is known now has no samples: Prometheus shows the gap."""
    available = GaugeMetricFamily("vmportal_usage_available", "1 while the usage of VMs can be read from Redis.")
    try:
        latest = recent.latest(host.pk for host in hosts)
    except recent.Unavailable:
        available.add_metric([], 0)
        yield available
        return
    available.add_metric([], 1)
    yield available
    families: dict[str, GaugeMetricFamily] = {}
    age = 0.0
    for vm in vms:
        if vm["pk"] in latest:
            at, values = latest[vm["pk"]]
            age = max(age, time.time() - at)
            _add_usage(families, [vm["project__slug"], vm["name"], vm["host__name"] or ""], values)
    yield from families.values()
    yield GaugeMetricFamily("vmportal_usage_age_seconds", "Age of the oldest of these samples.", value=round(age, 1))


def _add_usage(families: dict[str, GaugeMetricFamily], labels: list[str], values: Values) -> None:
    for series, value in zip(SERIES, values, strict=True):
        name, text, direction, scale = _USAGE[series]
        names = ["project", "vm", "host"] + (["direction"] if direction else [])
        family = families.setdefault(name, GaugeMetricFamily(name, text, labels=names))
        if not math.isnan(value):
            family.add_metric([*labels, *([direction] if direction else [])], value * scale)


def _queue() -> Iterator[Metric]:
    found = operations.queue()
    yield GaugeMetricFamily("vmportal_operations_open", "Operations that are not done.", value=found["open"])
    yield GaugeMetricFamily("vmportal_operations_waiting", "Due, and nobody works on them.", value=found["waiting"])
    yield GaugeMetricFamily(
        "vmportal_operations_due_age_seconds", "How long the oldest of those has been due.", value=found["age_seconds"]
    )


def _operations() -> Iterator[Metric]:
    """What is done, by result, and how long it took: one query over the rows, which are kept for ever."""
    took = ExpressionWrapper(F("end_time") - F("start_time"), output_field=DurationField())
    buckets: dict[str, Any] = {
        f"within_{index}": Count("pk", filter=Q(end_time__lte=F("start_time") + timedelta(seconds=bound)))
        for index, bound in enumerate(BUCKETS)
    }
    done = Operation.objects.filter(status=Operation.Status.DONE).order_by().values("action")
    rows = done.annotate(
        failed=Count("pk", filter=Q(error__isnull=False)),
        number=Count("pk"),
        timed=Count("pk", filter=Q(start_time__isnull=False)),
        seconds=Sum(took),
        **buckets,
    )
    total = CounterMetricFamily("vmportal_operations", "Operations that are done.", labels=["action", "result"])
    times = HistogramMetricFamily(
        "vmportal_operation_duration_seconds", "From a worker's first look to the end.", labels=["action"]
    )
    found: list[Any] = [*rows]
    for row in found:
        total.add_metric([row["action"], "error"], row["failed"])
        total.add_metric([row["action"], "success"], row["number"] - row["failed"])
        bounds = [(str(float(bound)), row[f"within_{index}"]) for index, bound in enumerate(BUCKETS)]
        seconds = (row["seconds"] or timedelta()).total_seconds()
        times.add_metric([row["action"]], [*bounds, ("+Inf", row["timed"])], seconds)
    yield total
    yield times


def _repairs() -> Iterator[Metric]:
    opened: dict[str, int] = defaultdict(int)
    closed = CounterMetricFamily("vmportal_repairs", "Repairs that ended.", labels=["cause", "outcome"])
    for cause, outcome, number in Repair.objects.order_by().values_list("cause", "outcome").annotate(n=Count("pk")):
        if outcome:
            closed.add_metric([cause, outcome], number)
        else:
            opened[cause] = number
    family = GaugeMetricFamily("vmportal_repairs_open", "Repairs under way.", labels=["cause"])
    for cause in Repair.Cause.values:
        family.add_metric([cause], opened[cause])
    yield family
    yield closed


def _alerts() -> Iterator[Metric]:
    family = GaugeMetricFamily("vmportal_alerts_open", "Alerts that are not over.", labels=["kind", "severity"])
    rows = Alert.objects.filter(resolved_at__isnull=True).order_by().values_list("kind", "severity")
    for kind, severity, number in rows.annotate(n=Count("pk")):
        family.add_metric([kind, severity], number)
    yield family
