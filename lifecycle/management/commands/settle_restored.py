"""`manage.py settle_restored`: brings a database that was put back to this version; `./portal restore` runs it."""

import dataclasses
import json
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from lifecycle.services.restored import settle


class Command(BaseCommand):
    """Safe to run again: what it does is right at any time, if a nuisance to who is signed in."""

    help = "Migrate, check, end all sessions and leave a gap in the numbers of events: after a restore."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """One process for all: starting Django costs a second."""
        call_command("migrate", interactive=False, verbosity=0, stdout=self.stderr)
        call_command("check", tags=["database"], databases=["default"], fail_level="WARNING", stdout=self.stderr)
        call_command("createcachetable", verbosity=0, stdout=self.stderr)
        self.stdout.write(json.dumps(dataclasses.asdict(settle())))
