"""A VM's consoles: their pages, the tickets that open them, who has one open, and what the serial port said before."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError
from lifecycle.labels import refusal_text
from lifecycle.models import VM, ConsoleKind, ConsoleSession
from lifecycle.realtime.origins import canonical
from lifecycle.services import consoles, serial_history
from lifecycle.web.access import Place, place_of, vm_in
from lifecycle.web.http import Request, SeeOther, page_param, signed_in, text_param
from lifecycle.web.views.vm_page import head_context

#: Ended sessions on a page, and the end of the recorded output that is shown without a search, in characters.
PAGE_SIZE = 10
SHOWN_CHARACTERS = 64 * 1024

#: What a page says of a console's states and of the codes that end it; the scripts read it.
TEXTS = {
    "connecting": _("Connecting…"),
    "connected": _("Connected"),
    "reconnecting": _("Reconnecting…"),
    "off": _("The VM is off. The console opens by itself when it runs."),
    "taken": _("Another program on the host uses this console. It opens when that one lets go."),
    "no_device": _("This VM has no such device. VMs get one when they are next started from off."),
    "lost": _("The host does not answer. Trying again…"),
    "closed": _("Closed"),
    "cut": _("This console was cut by a person who may use this VM, or by an operator."),
    "signed_out": _("You are signed out. Sign in again to open the console."),
    "forbidden": _("You may no longer use this VM."),
    "gone": _("The VM was deleted."),
    "refused": _("The console could not be opened. Reload the page and try again."),
    "skipped": _("[some output was skipped: this page is slower than the guest; the record has more]"),
    "copied": _("Copied."),
    "nothing": _("Nothing was found."),
    "viewers": _("Open now"),
    "clipboard": _("Copied in the guest: it is in the field."),
}


class KindConverter:
    """The kind of a console in an address."""

    regex = "|".join(ConsoleKind.values)

    def to_python(self, value: str) -> str:
        """As it is written."""
        return value

    def to_url(self, value: str) -> str:
        """As it is written."""
        return value


@require_GET
@signed_in
def serial(request: Request, slug: str, name: str) -> HttpResponse:
    """The serial console, and what was recorded of it, which can be searched; also of a VM that is off."""
    place, vm = _vm(request, slug, name)
    wanted = text_param(request, "q", 100)
    text = serial_history.whole(vm.pk)
    lines, count = serial_history.search(text, wanted) if wanted else ([], 0)
    context = {
        "wanted": wanted,
        "lines": lines,
        "found": count,
        "recorded": text[-SHOWN_CHARACTERS:],
        "recorded_bytes": len(text.encode()),
    }
    return render(request, "consoles/serial.html", {**_context(request, place, vm, ConsoleKind.SERIAL), **context})


@require_GET
@signed_in
def screen(request: Request, slug: str, name: str) -> HttpResponse:
    """The graphical console."""
    place, vm = _vm(request, slug, name)
    return render(request, "consoles/screen.html", _context(request, place, vm, ConsoleKind.SCREEN))


@require_GET
@signed_in
def sessions(request: Request, slug: str, name: str) -> HttpResponse:
    """The part of both pages that lists sessions."""
    place, vm = _vm(request, slug, name)
    return render(request, "consoles/_sessions.html", {"place": place, "vm": vm, **_sessions(request, vm)})


@require_GET
@signed_in
def output(request: Request, slug: str, name: str) -> HttpResponse:
    """All that is kept of the serial output, as a file."""
    _place, vm = _vm(request, slug, name)
    response = HttpResponse(serial_history.whole(vm.pk), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{vm.name}-serial.txt"'
    return response


@require_POST
@signed_in
def ticket(request: Request, slug: str, name: str, kind: str) -> HttpResponse:
    """A ticket for a websocket that this page opens at once; its secret is told here and nowhere else."""
    _place, vm = _vm(request, slug, name)
    try:
        token = consoles.issue_ticket(
            vm,
            ConsoleKind(kind),
            user=request.user,
            session_key=request.session.session_key or "",
            origin=_origin(request),
            address=request.META.get("REMOTE_ADDR"),
        )
    except DomainError as error:
        return JsonResponse({"code": error.code, "text": refusal_text(error)}, status=error.http_status)
    response = JsonResponse({"ticket": token, "path": f"/ws/consoles/{vm.pk}/{kind}/"})
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@signed_in
def cut(request: Request, slug: str, name: str, session_id: int) -> HttpResponse:
    """End somebody's open console on this VM, one's own too."""
    place, vm = _vm(request, slug, name)
    place.require(Right.USE_VMS)
    found = get_object_or_404(ConsoleSession.objects.visible_to(request.user), pk=session_id, vm=vm)
    consoles.cut(found, user=request.user)
    if request.htmx:
        return render(request, "consoles/_sessions.html", {"place": place, "vm": vm, **_sessions(request, vm)})
    return SeeOther(
        reverse("web:vm-console" if found.kind == ConsoleKind.SERIAL else "web:vm-screen", args=[slug, name])
    )


def _vm(request: Request, slug: str, name: str) -> tuple[Place, VM]:
    place = place_of(request.user, slug)
    return place, vm_in(place, name)


def _context(request: Request, place: Place, vm: VM, kind: ConsoleKind) -> dict[str, Any]:
    return {
        **head_context(place, vm),
        "current": kind.value,
        "kind": kind.value,
        "texts": {key: str(text) for key, text in TEXTS.items()},
        **_sessions(request, vm),
    }


def _sessions(request: HttpRequest, vm: VM) -> dict[str, Any]:
    """Open ones, and a page of those that ended: two queries."""
    page = page_param(request, "page")
    rows = ConsoleSession.objects.filter(vm=vm).select_related("user", "cut_by")
    ended = list(rows.filter(closed_at__isnull=False)[(page - 1) * PAGE_SIZE : page * PAGE_SIZE + 1])
    return {
        "open_sessions": list(rows.open()[: consoles.OPEN_MAX * 5]),
        "ended_sessions": ended[:PAGE_SIZE],
        "sessions_page": page,
        "sessions_older": len(ended) > PAGE_SIZE,
    }


def _origin(request: Request) -> str:
    """Where the page is that asks: the browser says so with a POST; without that, our own address."""
    return canonical(request.headers.get("Origin", "")) or canonical(settings.PUBLIC_URL)
