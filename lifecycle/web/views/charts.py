"""Charts of a VM, a project and a host: the page, its data for the script, and CSV."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from lifecycle import labels
from lifecycle.models import VM, Host
from lifecycle.services import charts
from lifecycle.services.charts import Chart, Span
from lifecycle.web.access import place_of, vm_in
from lifecycle.web.drawing import HEIGHT, WIDTH, Drawing, drawing
from lifecycle.web.http import Request, signed_in, text_param
from lifecycle.web.views.vm_page import head_context


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page of charts is about. `cores` and `memory_mib`: what it has, None where there is no such bound."""

    name: str
    chart: Callable[[Span], Chart]
    socket: str
    cores: int | None = None
    memory_mib: int | None = None


def span_of(request: Request) -> Span:
    """The span of the query; an hour for anything that is none."""
    text = text_param(request, "span")
    return Span(text) if text in list(Span) else Span.HOUR


@require_GET
@signed_in
def vm(request: Request, slug: str, name: str) -> HttpResponse:
    """The charts of a VM."""
    place = place_of(request.user, slug)
    found = vm_in(place, name)
    context = head_context(place, found) | {"current": "charts"}
    return _answer(request, _vm_subject(found), "charts/vm.html", context)


@require_GET
@signed_in
def project(request: Request, slug: str) -> HttpResponse:
    """The charts of a project: the sum of its VMs."""
    place = place_of(request.user, slug)
    subject = Subject(
        place.project.slug, lambda span: charts.of_project(place.project, span), f"/ws/usage/projects/{slug}/"
    )
    return _answer(request, subject, "charts/project.html", {"place": place, "tab": "charts"})


@require_GET
@signed_in
def host(request: Request, name: str) -> HttpResponse:
    """The charts of a host: the sum of its guests. Only for staff."""
    if not request.user.is_staff:
        raise PermissionDenied(_("This page is for the operators of the installation."))
    found = get_object_or_404(Host, name=name)
    subject = Subject(
        found.name,
        lambda span: charts.of_host(found, span),
        f"/ws/usage/hosts/{found.name}/",
        found.vcpus_total or None,
        found.memory_mib_total or None,
    )
    return _answer(request, subject, "charts/host.html", {"host": found})


def _vm_subject(vm: VM) -> Subject:
    return Subject(vm.name, lambda span: charts.of_vm(vm, span), f"/ws/usage/vms/{vm.pk}/", vm.vcpus, vm.memory_mib)


def _answer(request: Request, subject: Subject, template: str, context: dict[str, Any]) -> HttpResponse:
    """The page, or what `as` asks for: json or csv."""
    span = span_of(request)
    chart = subject.chart(span)
    kind = request.GET.get("as", "")
    if kind == "csv":
        return csv_of(subject.name, chart)
    pictures = pictures_of(subject, chart)
    if kind == "json":
        return JsonResponse(data_of(chart, pictures, subject))
    more = {
        "chart": chart,
        "span": span,
        "spans": list(Span),
        "pictures": pictures,
        "subject": subject,
        "data": data_of(chart, pictures, subject),
        "width": WIDTH,
        "height": HEIGHT,
        "table": table_of(chart, pictures, subject),
        "series": [line.name for picture in pictures for line in picture.lines],
        "states": sorted({band.state for band in chart.bands}),
        "begin_at": datetime.fromtimestamp(chart.begin, UTC),
        "end_at": datetime.fromtimestamp(chart.end, UTC),
    }
    return render(request, template, {**context, **more})


def pictures_of(subject: Subject, chart: Chart) -> list[Drawing]:
    """The four charts, each in the unit that people use for it."""
    percent = 100 / subject.cores if subject.cores else 1
    return [
        drawing(
            chart, "cpu", "percent" if subject.cores else "cores", ["cpu"],
            scale=percent, least=100 if subject.cores else 1,
        ),
        drawing(chart, "memory", "mib", ["memory"], least=subject.memory_mib or 64),
        drawing(chart, "disk", "bytes", ["disk_read", "disk_write"], least=1024),
        drawing(chart, "network", "bytes", ["net_in", "net_out"], least=1024),
    ]  # fmt: skip


def data_of(chart: Chart, pictures: list[Drawing], subject: Subject) -> dict[str, Any]:
    """What the script draws: times, values by series (null is a gap), states."""
    return {
        "span": chart.span,
        "begin": chart.begin,
        "end": chart.end,
        "step": chart.step,
        "times": chart.times,
        "charts": [
            {
                "name": picture.name,
                "unit": picture.unit,
                "least": picture.top,
                "scale": scale_of(picture, subject),
                "series": [
                    {
                        "name": line.name,
                        "label": labels.label(labels.CHARTS, line.name),
                        **{
                            w: _scaled(chart, line.name, w, scale_of(picture, subject)) for w in ("low", "mean", "high")
                        },
                    }
                    for line in picture.lines
                ],
            }
            for picture in pictures
        ],
        "states": {band.state: labels.label(labels.STATES, band.state) for band in chart.bands},
        "bands": [[band.begin, band.end, band.state] for band in chart.bands],
    }


def scale_of(picture: Drawing, subject: Subject) -> float:
    """What cores are multiplied by to be a part of the whole; 1 for the rest."""
    return 100 / subject.cores if picture.name == "cpu" and subject.cores else 1


def _scaled(chart: Chart, name: str, which: str, scale: float) -> list[float | None]:
    return [None if value is None else round(value * scale, 3) for value in chart.column(name, which)]


def table_of(chart: Chart, pictures: list[Drawing], subject: Subject, most: int = 60) -> list[dict[str, Any]]:
    """The latest points for people who read tables, the newest first."""
    columns = [
        ([None if value is None else value * scale_of(picture, subject) for value in chart.column(line.name)], picture)
        for picture in pictures
        for line in picture.lines
    ]
    indexes = [index for index, summary in enumerate(chart.summaries) if summary is not None][-most:]
    return [
        {
            "at": datetime.fromtimestamp(chart.times[index], UTC),
            "cells": [(column[index], picture.unit) for column, picture in columns],
        }
        for index in reversed(indexes)
    ]


def csv_of(name: str, chart: Chart) -> HttpResponse:
    """All points of the span; times in UTC."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(charts.rows_of(chart))
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{chart.span}.csv"'
    return response
