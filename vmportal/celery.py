"""The Celery application: `celery -A vmportal worker` and `beat`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")

app = Celery("vmportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
