"""The Django project around `lifecycle`: settings, entry points and the launcher behind `./portal`."""

from vmportal.celery import app as celery_app

__all__ = ["celery_app"]
