"""People's own choices: language, time zone, theme."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from lifecycle.domain.errors import DomainError
from lifecycle.services import accounts
from lifecycle.web.context import THEME_COOKIE, THEMES
from lifecycle.web.forms import PreferencesForm
from lifecycle.web.http import Request, SeeOther, next_or, signed_in
from lifecycle.web.views.errors import post_only

YEAR = 365 * 24 * 3600


@require_http_methods(["GET", "POST"])
@signed_in
def preferences(request: Request) -> HttpResponse:
    """Language and time zone."""
    user = request.user
    if request.method == "GET":
        form = PreferencesForm(initial={"language": user.language, "time_zone": user.time_zone})
        return render(request, "account/preferences.html", {"form": form})
    form = PreferencesForm(request.POST)
    if form.is_valid():
        language, time_zone = form.cleaned_data["language"], form.cleaned_data["time_zone"]
        try:
            accounts.change_preferences(user, language=language, time_zone=time_zone)
        except DomainError as error:
            form.refuse(error)
        else:
            if language:
                translation.activate(language)
            messages.success(request, _("Your preferences are saved."))
            response = SeeOther(reverse("web:preferences"))
            _set_cookie(response, settings.LANGUAGE_COOKIE_NAME, language)
            return response
    return render(request, "account/preferences.html", {"form": form}, status=400)


@post_only
def language(request: HttpRequest) -> HttpResponse:
    """Change the language: kept in a cookie, and with the account of who is signed in."""
    chosen = request.POST.get("language", "")
    response = SeeOther(next_or(request, "/"))
    if chosen in dict(settings.LANGUAGES):
        _set_cookie(response, settings.LANGUAGE_COOKIE_NAME, chosen)
        if request.user.is_authenticated:
            accounts.change_preferences(request.user, language=chosen, time_zone=request.user.time_zone)
    return response


@post_only
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system says: a cookie, since it belongs to the screen and not to the person."""
    chosen = request.POST.get("theme", "")
    htmx = getattr(request, "htmx", False)
    response = HttpResponse(status=204) if htmx else SeeOther(next_or(request, "/"))
    if chosen in THEMES:
        _set_cookie(response, THEME_COOKIE, "" if chosen == "auto" else chosen)
    return response


def _set_cookie(response: HttpResponse, name: str, value: str) -> None:
    if value:
        response.set_cookie(name, value, max_age=YEAR, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
    else:
        response.delete_cookie(name, samesite="Lax")
