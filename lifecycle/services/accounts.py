"""People's own settings."""

import zoneinfo

from django.conf import settings

from lifecycle.domain.errors import InvalidInput
from lifecycle.models import User
from lifecycle.services.db import service


@service
def change_preferences(user: User, *, language: str, time_zone: str) -> None:
    """Language and time zone; empty means the browser's and the site's."""
    if language and language not in dict(settings.LANGUAGES):
        raise InvalidInput("There is no language %(value)s.", field="language", value=language)
    if time_zone and time_zone not in zoneinfo.available_timezones():
        raise InvalidInput("There is no time zone %(value)s.", field="time_zone", value=time_zone)
    User.objects.filter(pk=user.pk).update(language=language, time_zone=time_zone)


@service
def password_changed(user: User) -> None:
    """A one-time password was replaced."""
    User.objects.filter(pk=user.pk).update(must_change_password=False)
