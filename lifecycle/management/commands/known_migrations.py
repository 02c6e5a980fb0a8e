"""`manage.py known_migrations`: the migrations that this version has, by application, as JSON. Reads no database."""

import json
from typing import Any

from django.core.management.base import BaseCommand
from django.db.migrations.loader import MigrationLoader


class Command(BaseCommand):
    """What a backup is compared with before it is restored."""

    help = "List the migrations that this version knows, as JSON."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Squashed migrations count under each name that they replace, too."""
        known: dict[str, set[str]] = {}
        loader = MigrationLoader(None, ignore_no_migrations=True)
        for (app, name), migration in loader.disk_migrations.items():
            known.setdefault(app, set()).add(name)
            for replaced_app, replaced in migration.replaces:
                known.setdefault(replaced_app, set()).add(replaced)
        self.stdout.write(json.dumps({app: sorted(names) for app, names in known.items()}))
