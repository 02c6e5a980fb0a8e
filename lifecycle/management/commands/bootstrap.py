"""`manage.py bootstrap`: the first rows of an installation."""

import dataclasses
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from lifecycle.services.bootstrap import bootstrap


class Command(BaseCommand):
    """Make administrator, project, zone and machine types where they are missing."""

    help = "Make the first rows of an installation; run again it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        result = bootstrap()
        if options["json"]:
            self.stdout.write(json.dumps(dataclasses.asdict(result)))
        elif result.password:
            self.stdout.write(f"First login: {result.username} / {result.password} (to be changed at sign-in)")
        else:
            self.stdout.write(f"Nothing to do; the administrator is {result.username}.")
