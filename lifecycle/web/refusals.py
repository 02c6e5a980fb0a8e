"""A refused request, said well: what is wrong and what to do, with the error's own HTTP status."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from lifecycle import labels
from lifecycle.domain.errors import DomainError

_TITLES = {
    "ACTION_NOT_ALLOWED": _("Not possible in this state"),
    "OPERATION_IN_PROGRESS": _("Something else is under way"),
    "STATE_CONFLICT": _("Somebody was faster"),
    "DELETION_PROTECTED": _("Protected against deletion"),
    "QUOTA_EXCEEDED": _("The project's quota is used up"),
    "ZONE_RESOURCE_POOL_EXHAUSTED": _("No host has room"),
    "ALREADY_EXISTS": _("The name is taken"),
    "FORBIDDEN": _("Not with your role"),
    "NOT_FOUND": _("Not there any more"),
}
_HINTS = {
    "STATE_CONFLICT": _("Look at the state below and repeat the action if you still want it."),
    "OPERATION_IN_PROGRESS": _("The page shows its progress; try again when it is done."),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a page shows of a `DomainError`."""

    title: str
    text: str
    hint: str
    status: int


def text_of(error: DomainError) -> str:
    """The error's text in the reader's language."""
    return labels.refusal_text(error)


def refusal_of(error: DomainError) -> Refusal:
    """The error for a page."""
    title = _TITLES.get(error.code, _("This was refused"))
    return Refusal(str(title), text_of(error), str(_HINTS.get(error.code, "")), error.http_status)


@contextmanager
def told(request: HttpRequest, success: str) -> Iterator[None]:
    """Do what is inside; the next page says how it went: `success`, or why it was refused."""
    try:
        yield
    except DomainError as error:
        messages.error(request, text_of(error))
    else:
        messages.success(request, success)


def refusal_fragment(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """The message region alone, for htmx: it lands there whatever the button's own target was."""
    response = render(request, "includes/refusal.html", {"refusal": refusal}, status=refusal.status)
    response["HX-Retarget"] = "#flash"
    response["HX-Reswap"] = "innerHTML show:window:top"
    return response
