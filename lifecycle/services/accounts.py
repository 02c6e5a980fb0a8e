"""People's own settings."""

import zoneinfo
from functools import cache

from django.conf import settings

from lifecycle.domain.errors import InvalidInput
from lifecycle.models import User
from lifecycle.services.db import service


@cache
def time_zones() -> frozenset[str]:
    """The names of all time zones, read once: Python opens every file of theirs each time it is asked."""
    return frozenset(zoneinfo.available_timezones())


@service
def change_preferences(user: User, *, language: str, time_zone: str) -> None:
    """Language and time zone; empty means the browser's and the site's."""
    if language and language not in dict(settings.LANGUAGES):
        raise InvalidInput("There is no language %(value)s.", field="language", value=language)
    if time_zone and time_zone not in time_zones():
        raise InvalidInput("There is no time zone %(value)s.", field="time_zone", value=time_zone)
    User.objects.filter(pk=user.pk).update(language=language, time_zone=time_zone)


@service
def password_changed(user: User) -> None:
    """A one-time password was replaced."""
    User.objects.filter(pk=user.pk).update(must_change_password=False)
