"""Charts: pages, data and CSV of a VM, a project and a host, with gaps as gaps and states behind them."""

import csv
import io
import json
import math
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.usage import FIVE_MINUTES, HOUR, STEP, Values, summary_of
from lifecycle.models import VM, Host, HostUsage, MeteringInterval, Project, User, VMUsage
from lifecycle.realtime import recent
from lifecycle.services import charts
from lifecycle.services.charts import Chart, Span
from lifecycle.templatetags.charts import measured
from lifecycle.web import drawing
from tests import factories
from tests.realtime.servers import RedisServer
from tests.web.conftest import Browser

VALUES: Values = (0.25, 64.0, 1024.0, 2048.0, 100.0, math.nan)
PATHS = ("/projects/lab/vms/web-1/charts/", "/projects/lab/charts/")


@pytest.fixture(autouse=True)
def redis(redis_layer: RedisServer) -> RedisServer:
    """Every test has a Redis."""
    return redis_layer


@pytest.fixture(autouse=True)
def _one_moment(redis: RedisServer) -> Iterator[None]:
    """No ten seconds, five minutes or hour end between a sample and the chart that shows it."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        yield


def now() -> int:
    """This moment, as samples have it."""
    return int(time.time()) // STEP * STEP


def sampled(subject: str, *ages: int, values: Values = VALUES) -> None:
    """Samples of so many seconds ago."""
    for age in ages:
        recent.keep(now() - age, {subject: values})


def stored(vm: VM, length: int, begin: int, values: Values = VALUES) -> None:
    """A row of the VM, its project and its host."""
    packed = summary_of(values).pack()
    assert vm.host is not None
    VMUsage.objects.create(vm=vm, length=length, begin=begin, packed=packed)
    for project in (None, vm.project):
        HostUsage.objects.create(host=vm.host, project=project, length=length, begin=begin, packed=packed)


# -- what a chart is -----------------------------------------------------------------------------


def test_the_last_hour_is_samples_and_what_is_missing_is_a_gap(vm: VM) -> None:
    sampled(recent.vm_subject(vm.pk), 100, 90, 40, 30)
    chart = charts.of_vm(vm, Span.HOUR)
    assert [at - now() for at in chart.times] == [-100, -90, -80, -40, -30]
    assert chart.column("cpu") == [0.25, 0.25, None, 0.25, 0.25]
    assert chart.column("net_out") == [None] * 5


def test_one_late_sample_is_no_gap(vm: VM) -> None:
    sampled(recent.vm_subject(vm.pk), 50, 30, 20)
    assert None not in charts.of_vm(vm, Span.LIVE).column("cpu")


def test_a_day_is_five_minutes_with_lowest_and_highest(vm: VM) -> None:
    begin = now() // FIVE_MINUTES * FIVE_MINUTES
    for age in (900, 600):
        stored(vm, FIVE_MINUTES, begin - age)
    stored(vm, FIVE_MINUTES, begin - 2 * 86400)
    chart = charts.of_vm(vm, Span.DAY)
    assert chart.times == [begin - 900, begin - 600]
    assert chart.column("disk_write", "high") == [2048.0, 2048.0]


def test_a_month_is_hours_and_the_five_minutes_since_the_last_one(vm: VM) -> None:
    hour = now() // HOUR * HOUR
    stored(vm, HOUR, hour - 5 * HOUR)
    stored(vm, FIVE_MINUTES, hour, (0.75, *VALUES[1:]))
    chart = charts.of_vm(vm, Span.MONTH)
    assert chart.column("cpu") == [0.25, None, 0.75]
    assert charts.of_host(vm.host, Span.MONTH).column("cpu") == [0.25, None, 0.75]  # type: ignore[arg-type]


def test_a_project_is_the_sum_over_its_hosts(vm: VM, project: Project, zone: object) -> None:
    other = factories.make_vm(project, host=factories.make_host("host-2"))
    begin = now() // FIVE_MINUTES * FIVE_MINUTES - 600
    for one in (vm, other):
        stored(one, FIVE_MINUTES, begin)
        assert one.host_id
        sampled(recent.part_subject(project.pk, one.host_id), 20, 10)
    assert charts.of_project(project, Span.DAY).column("cpu") == [0.5]
    assert charts.of_project(project, Span.HOUR).column("memory") == [128.0, 128.0]
    assert charts.of_host(vm.host, Span.DAY).column("cpu") == [0.25]  # type: ignore[arg-type]


def test_states_lie_behind_the_lines_from_edge_to_edge(vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(state_since=timezone.now() - timedelta(minutes=20))
    factories.give_history(factories.reload_vm(vm.pk), timezone.now() - timedelta(days=3))
    chart = charts.of_vm(vm, Span.HOUR)
    assert MeteringInterval.objects.filter(vm=vm).exists()
    assert [band.state for band in chart.bands] == [State.RUNNING]
    assert chart.bands[-1].end == chart.end
    assert chart.bands[0].begin >= chart.begin


def test_the_newest_state_lies_behind_the_lines_from_its_first_second_on(vm: VM) -> None:
    at = timezone.now()
    VM.objects.filter(pk=vm.pk).update(state_since=at)
    factories.give_history(factories.reload_vm(vm.pk), at - timedelta(days=3))
    (current,) = MeteringInterval.objects.filter(vm=vm, ended_at__isnull=True)
    chart = charts.of_vm(vm, Span.HOUR, int(current.started_at.timestamp()))
    assert chart.bands[-1].state == vm.state
    assert chart.bands[-1].end == chart.end


def test_without_redis_the_hour_is_averages_and_the_page_says_so(vm: VM, redis: RedisServer, as_owner: Client) -> None:
    stored(vm, FIVE_MINUTES, now() // FIVE_MINUTES * FIVE_MINUTES - 300)
    redis.kill()
    chart = charts.of_vm(vm, Span.HOUR)
    assert (chart.recent_off, chart.step, chart.column("cpu")) == (True, FIVE_MINUTES, [0.25])
    page = as_owner.get("/projects/lab/vms/web-1/charts/")
    assert page.status_code == 200
    assert "Live charts are off" in page.content.decode()
    day = as_owner.get("/projects/lab/vms/web-1/charts/?span=day").content.decode()
    assert "Live charts are off" not in day


# -- drawing -------------------------------------------------------------------------------------


def made(times: list[int], cpu: list[float | None]) -> Chart:
    """A chart of a hundred seconds with these values of CPU."""
    summaries = [None if value is None else summary_of((value, *VALUES[1:])) for value in cpu]
    return Chart(Span.LIVE, STEP, 0, 100, times, summaries, [])


def test_a_line_is_lifted_at_a_gap() -> None:
    picture = drawing.drawing(made([0, 50, 60, 100], [0.0, 0.5, None, 1.0]), "cpu", "cores", ["cpu"])
    assert picture.lines[0].path == "M0.0 120.0h.01L300.0 60.0M600.0 0.0h.01"


def test_a_peak_survives_that_a_long_line_is_thinned() -> None:
    values: list[float | None] = [0.1] * 2000
    values[777] = 0.9
    chart = made(list(range(2000)), values)
    path = drawing.path(chart, chart.column("cpu"), 1.0)
    assert path.count("L") + path.count("M") <= drawing.POINTS_MAX
    assert f" {120 * 0.1:.1f}" in path


@pytest.mark.parametrize(("value", "edge"), [(100, 100), (101, 200), (0.3, 0.5), (1, 1), (2100, 5000), (0, 1)])
def test_the_upper_edge_is_a_round_number(value: float, edge: float) -> None:
    assert drawing.nice(value) == pytest.approx(edge)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (960_000, "bytes", "1 MiB/s"),
        (3_000_000, "bytes", "5 MiB/s"),
        (700, "bytes", "1 KiB/s"),
        (70, "mib", "100 MiB"),
    ],
)
def test_the_upper_edge_is_round_in_the_unit_that_is_shown(value: float, unit: str, shown: str) -> None:
    assert measured(drawing.edge(value, unit), unit) == shown


def test_units_speak_french_in_the_picture_and_for_the_script(vm: VM, as_owner: Client) -> None:
    sampled(recent.vm_subject(vm.pk), 30, 20, 10)
    page = as_owner.get("/projects/lab/vms/web-1/charts/?span=hour", headers={"accept-language": "fr"}).content.decode()
    assert 'data-units="o/s Kio/s Mio/s Gio/s Mio Gio"' in page
    assert not re.search(r"\d\s?(KiB|MiB|GiB|B/s)", page)


# -- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", ["live", "hour", "day", "month", "", "nonsense"])
def test_every_span_has_a_page_that_needs_no_script(vm: VM, as_owner: Client, span: str) -> None:
    sampled(recent.vm_subject(vm.pk), 30, 20, 10)
    for path in PATHS:
        page = as_owner.get(path, {"span": span})
        assert page.status_code == 200
        assert "<svg" in page.content.decode()
        assert " style=" not in page.content.decode()
    text = as_owner.get(PATHS[0], {"span": "live"}).content.decode()
    assert "25 %" in text
    assert 'class="chart__line chart__line--0" d="M' in text


def test_the_data_for_the_script_is_what_the_page_shows(vm: VM, as_owner: Client) -> None:
    sampled(recent.vm_subject(vm.pk), 50, 10)
    data = as_owner.get(PATHS[0], {"span": "hour", "as": "json"}).json()
    cpu = data["charts"][0]
    assert [at - now() for at in data["times"]] == [-50, -40, -10]
    assert cpu["series"][0]["mean"] == [25.0, None, 25.0]
    assert cpu["scale"] == 100
    assert data["charts"][3]["series"][1]["mean"] == [None, None, None]


def test_csv_has_every_point_in_plain_numbers_and_utc(vm: VM, as_owner: Client) -> None:
    begin = now() // FIVE_MINUTES * FIVE_MINUTES - 600
    stored(vm, FIVE_MINUTES, begin)
    answer = as_owner.get(PATHS[0], {"span": "day", "as": "csv"}, headers={"Accept-Language": "fr"})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="web-1-day.csv"'
    header, row = csv.reader(io.StringIO(answer.content.decode()))
    assert header[:4] == ["time", "cpu_cores_low", "cpu_cores_mean", "cpu_cores_high"]
    assert header[-1] == "net_out_bytes_per_s_high"
    assert row[0] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin))
    assert row[1:5] == ["0.25", "0.25", "0.25", "64"]
    assert row[-1] == ""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["", "json", "csv"])
def test_members_see_the_charts_and_a_stranger_does_not(
    vm: VM, browser: Browser, owner: User, viewer: User, stranger: User, path: str, kind: str
) -> None:
    for user in (owner, viewer):
        assert browser(user).get(path, {"as": kind}).status_code == 200
    assert browser(stranger).get(path, {"as": kind}).status_code == 404
    assert browser(None).get(path, {"as": kind}).status_code == 302


def test_a_host_is_for_the_staff(vm: VM, host: Host, browser: Browser, owner: User, superuser: User) -> None:
    sampled(recent.host_subject(host.pk), 10)
    path = f"/operators/hosts/{host.name}/charts/"
    assert browser(owner).get(path).status_code == 403
    assert browser(None).get(path).status_code == 302
    assert browser(superuser).get("/operators/hosts/nowhere/charts/").status_code == 404
    page = browser(superuser).get(path)
    assert page.status_code == 200
    assert "3.1 %" in page.content.decode(), "a quarter of a core, of eight"


def test_nothing_measured_says_when_values_come(vm: VM, as_owner: Client) -> None:
    text = as_owner.get(PATHS[0]).content.decode()
    assert "values appear while a VM runs" in text
    data = json.loads(text.split('<script id="charts-data" type="application/json">')[1].split("</script>")[0])
    assert data["times"] == []
