"""Makes the project itself an application, so that what it holds is loaded wherever Django is."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Loads the Celery application, so that tasks rung from anywhere go to our broker."""

    name = "vmportal"

    def ready(self) -> None:
        """Import for its effect: it makes our Celery application the current one."""
        from vmportal import celery  # noqa: F401
