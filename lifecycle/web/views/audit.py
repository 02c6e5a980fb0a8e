"""The audit log of a project, for those whose role reads it."""

from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from lifecycle import labels
from lifecycle.domain.access import Right
from lifecycle.models import AuditEntry
from lifecycle.web.access import place_of
from lifecycle.web.http import Request, page_param, signed_in, text_param

PAGE_SIZE = 40


@require_GET
@signed_in
def index(request: Request, slug: str) -> HttpResponse:
    """The newest first, narrowed by who or what (`q`), by action and by the way it came. One query."""
    place = place_of(request.user, slug)
    place.require(Right.READ_AUDIT)
    page = page_param(request, "page")
    wanted = {name: text_param(request, name) for name in ("q", "action", "channel")}
    rows = AuditEntry.objects.filter(project=place.project)
    if wanted["q"]:
        words = wanted["q"]
        rows = rows.filter(Q(who__icontains=words) | Q(target__icontains=words) | Q(ip__startswith=words))
    if wanted["action"] in labels.AUDIT:
        rows = rows.filter(action=wanted["action"])
    if wanted["channel"] in AuditEntry.Channel:
        rows = rows.filter(channel=wanted["channel"])
    found = list(rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE + 1])
    context: dict[str, Any] = {
        "place": place,
        "entries": found[:PAGE_SIZE],
        "older": len(found) > PAGE_SIZE,
        "number": page,
        "wanted": wanted,
        "filtered": any(wanted.values()),
        "actions": sorted(labels.AUDIT.items(), key=lambda item: str(item[1])),
        "channels": AuditEntry.Channel.choices,
    }
    return render(request, "audit/index.html", context)
