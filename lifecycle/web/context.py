"""What every template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "vmportal_theme"


def portal(request: HttpRequest) -> dict[str, Any]:
    """The chosen theme and what this installation can do; no queries."""
    theme = request.COOKIES.get(THEME_COOKIE, "auto")
    return {
        "theme": theme if theme in THEMES else "auto",
        "mail_enabled": settings.MAIL_ENABLED,
        "oidc_enabled": bool(settings.OIDC_URL),
    }
