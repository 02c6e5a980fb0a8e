"""Prometheus' endpoint: who gets it, what it tells, and that rules and dashboard name only what there is."""

import json
import math
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from lifecycle.domain.alerts import Condition, Kind
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Host, Operation, Project, User
from lifecycle.realtime import recent
from lifecycle.services import alerts
from tests import factories
from tests.conftest import CHECKOUT
from tests.realtime.servers import RedisServer
from tests.web.conftest import Browser
from tests.web.query_counts import counted

TOKEN = "a-token-of-twenty-four-characters"
DOCS = CHECKOUT / "docs" / "monitoring"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def redis(redis_layer: RedisServer, settings: Settings) -> RedisServer:
    """Every test has a Redis, and the settings a token."""
    settings.METRICS_TOKEN = TOKEN
    return redis_layer


def scrape(client: Client) -> Samples:
    """All samples, by name and labels."""
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def key(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A sample's name and labels."""
    return name, tuple(sorted(labels.items()))


def done(vm: VM, action: Action, seconds: float, error: dict[str, Any] | None = None) -> None:
    """An operation that took so long."""
    start = timezone.now() - timedelta(seconds=seconds)
    made = factories.make_operation(vm, action, insert_time=start)
    Operation.objects.filter(pk=made.pk).update(
        status="DONE", start_time=start, end_time=start + timedelta(seconds=seconds), error=error
    )


# -- who -----------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
def test_without_the_token_nothing_is_told(client: Client, header: str) -> None:
    answer = client.get("/metrics", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert b"vmportal_" not in answer.content


@pytest.mark.django_db
def test_without_a_token_in_the_settings_it_is_off_and_says_how_to_switch_it_on(
    client: Client, settings: Settings
) -> None:
    settings.METRICS_TOKEN = ""
    for header in ("", "Bearer ", "Bearer x"):
        answer = client.get("/metrics", headers={"Authorization": header})
        assert answer.status_code == 404
        assert b"VMPORTAL_METRICS_TOKEN" in answer.content


def test_operators_see_it_with_their_session_and_members_do_not(
    browser: Browser, owner: User, superuser: User, project: Project
) -> None:
    assert browser(superuser).get("/metrics").status_code == 200
    assert browser(owner).get("/metrics").status_code == 401


# -- what ----------------------------------------------------------------------------------------


def test_the_usage_of_a_vm_is_its_last_sample(client: Client, vm: VM) -> None:
    assert vm.host is not None
    at = int(time.time()) - 4
    recent.keep_latest(vm.host.pk, at, {vm.pk: (0.5, 64.0, 1.0, 2.0, 3.0, math.nan)})
    found = scrape(client)
    mine = {"project": "lab", "vm": "web-1", "host": "host-1"}
    assert found[key("vmportal_vm_cpu_cores", **mine)] == 0.5
    assert found[key("vmportal_vm_memory_used_bytes", **mine)] == 64 * 2**20
    assert found[key("vmportal_vm_disk_bytes_per_second", **mine, direction="write")] == 2.0
    assert found[key("vmportal_vm_network_bytes_per_second", **mine, direction="receive")] == 3.0
    assert key("vmportal_vm_network_bytes_per_second", **mine, direction="transmit") not in found, "unknown is no 0"
    assert 3 < found[key("vmportal_usage_age_seconds")] < 60
    assert found[key("vmportal_vm_state", project="lab", vm="web-1", state="RUNNING")] == 1


def test_a_vm_that_stopped_has_no_usage_any_more(client: Client, vm: VM) -> None:
    assert vm.host is not None
    recent.keep_latest(vm.host.pk, 1, {vm.pk: (0.5,) * 6})
    recent.keep_latest(vm.host.pk, 2, {})
    assert not any(name == "vmportal_vm_cpu_cores" for name, _labels in scrape(client))


def test_without_redis_the_rest_is_told(client: Client, vm: VM, redis: RedisServer) -> None:
    redis.kill()
    found = scrape(client)
    assert found[key("vmportal_usage_available")] == 0
    assert found[key("vmportal_vms", state="RUNNING")] == 1
    assert found[key("vmportal_vms", state="SUSPENDED")] == 0


def test_operations_are_counted_and_timed(client: Client, vm: VM) -> None:
    done(vm, Action.STOP, 0.4)
    done(vm, Action.STOP, 8)
    done(vm, Action.STOP, 3000, {"code": "X"})
    found = scrape(client)
    assert found[key("vmportal_operations_total", action="stop", result="success")] == 2
    assert found[key("vmportal_operations_total", action="stop", result="error")] == 1
    name = "vmportal_operation_duration_seconds"
    assert [found[key(f"{name}_bucket", action="stop", le=le)] for le in ("0.5", "5.0", "10.0", "900.0", "+Inf")] == [
        1, 1, 2, 2, 3,
    ]  # fmt: skip
    assert found[key(f"{name}_sum", action="stop")] == pytest.approx(3008.4)
    assert found[key(f"{name}_count", action="stop")] == 3


def test_the_age_of_the_queue_is_that_of_the_oldest_nobody_works_on(client: Client, vm: VM) -> None:
    due = timezone.now() - timedelta(seconds=90)
    factories.make_operation(vm, Action.STOP, due_at=due)
    found = scrape(client)
    assert found[key("vmportal_operations_open")] == found[key("vmportal_operations_waiting")] == 1
    assert 89 <= found[key("vmportal_operations_due_age_seconds")] < 120


def test_hosts_repairs_and_alerts(client: Client, vm: VM, host: Host) -> None:
    alerts.report(Condition(Kind.PERIODIC_CHANGED, "x", {"task": "x"}))
    found = scrape(client)
    assert found[key("vmportal_host_up", host="host-1", zone="zone-a")] == 1
    assert found[key("vmportal_host_limit", host="host-1", resource="memory_bytes")] == host.memory_mib_limit * 2**20
    assert found[key("vmportal_host_reserved", host="host-1", resource="vcpus")] == vm.vcpus
    assert found[key("vmportal_repairs_open", cause="panic")] == 0
    assert sum(value for (name, _labels), value in found.items() if name == "vmportal_alerts_open") == 1


@pytest.mark.parametrize("size", [1, 6])
def test_a_scrape_asks_a_constant_number_of_queries(client: Client, project: Project, catalog: None, size: int) -> None:
    for number in range(size):
        vm = factories.make_vm(project, state=State.RUNNING, host=factories.make_host())
        done(vm, list(Action)[number], 1.0)
    with counted("metrics"):
        scrape(client)


# -- what is documented --------------------------------------------------------------------------


@pytest.fixture
def names(client: Client, vm: VM) -> set[str]:
    """The names of all samples there can be."""
    assert vm.host is not None
    done(vm, Action.STOP, 1)
    alerts.report(Condition(Kind.PERIODIC_CHANGED, "x", {"task": "x"}))
    recent.keep_latest(vm.host.pk, int(time.time()), {vm.pk: (1.0,) * 6})
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).content.decode()
    declared = set(re.findall(r"^# TYPE (vmportal_\w+) counter", answer, re.MULTILINE))
    return {name for name, _labels in scrape(client)} | {n if n.endswith("_total") else f"{n}_total" for n in declared}


def expressions() -> list[str]:
    """All PromQL of the rules and the dashboard."""
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return found + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_rules_and_dashboard_name_only_metrics_that_there_are(names: set[str]) -> None:
    used = {name for expression in expressions() for name in re.findall(r"vmportal_\w+", expression)}
    assert len(used) > 15
    assert used <= names


def test_every_rule_says_what_is_wrong_and_how_bad_it_is() -> None:
    rules = [r for g in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"] for r in g["rules"]]
    assert all(r["annotations"]["summary"] and r["labels"]["severity"] in {"warning", "critical"} for r in rules)
    assert len({r["alert"] for r in rules}) == len(rules)


def test_the_dashboards_panels_do_not_lie_upon_each_other() -> None:
    panels = json.loads((DOCS / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_every_documented_metric_exists(names: set[str]) -> None:
    text = Path(CHECKOUT / "docs" / "monitoring.md").read_text()
    documented = set(re.findall(r"`(vmportal_\w+)`", text))
    assert documented <= names | {"vmportal_operation_duration_seconds"}
    bare = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in names}
    assert {n for n in bare if n.startswith("vmportal_")} - documented == set()
