"""The Django application that is the product."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class LifecycleConfig(AppConfig):
    """Registers models, the admin and the checks of `lifecycle`."""

    name = "lifecycle"
    verbose_name = _("Virtual machines")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Wire what cuts live connections when a session ends, what guards the database, and traces."""
        from django.conf import settings

        from lifecycle import tracing
        from lifecycle.models import guards
        from lifecycle.realtime import signals

        signals.connect()
        guards.connect(self)
        if settings.TRACES_URL:
            tracing.start(settings.TRACES_URL, settings.INSTALLATION_ID)
