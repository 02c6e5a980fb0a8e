"""`manage.py check_migrations`: a migration must not break the processes of the version before, which still run.

The rules are in docs/migrations.md. What breaks them is allowed as the second of two steps, when the migration says
so: `two_step = "…"` names the version since which nobody reads or writes it.
"""

from collections.abc import Iterator
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import models
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED

APP: Final = "lifecycle"
#: What a migration says to be allowed a second step, and how many characters an explanation has at least.
MARKER: Final = "two_step"
EXPLANATION_MIN: Final = 30

_GONE: Final = "processes of the version before still use it"


class Command(BaseCommand):
    """Look at every migration of the product."""

    help = "Fail on migrations that the processes of the version before would not survive."

    def handle(self, *_args: Any, **_options: Any) -> None:
        loader = MigrationLoader(None)
        names = sorted(key for key in loader.disk_migrations if key[0] == APP)
        found = [f"{name}: {problem}" for app, name in names for problem in _of(loader, (app, name))]
        if found:
            raise CommandError("\n".join([*found, "See docs/migrations.md."]))
        self.stdout.write(f"{len(names)} migrations can be applied while the version before runs.")


def _of(loader: MigrationLoader, key: tuple[str, str]) -> list[str]:
    migration = loader.disk_migrations[key]
    before = loader.project_state([key], at_end=False)
    found = list(problems(migration, before))
    explanation = str(getattr(migration, MARKER, ""))
    if found and len(explanation) >= EXPLANATION_MIN:
        return []
    return found


def problems(migration: Migration, before: ProjectState) -> Iterator[str]:
    """What of a migration breaks the version before, as sentences. `before`: the models before it."""
    state = before.clone()
    made: set[str] = set()
    for operation in migration.operations:
        if isinstance(operation, operations.CreateModel):
            made.add(operation.name_lower)
        touched = getattr(operation, "model_name_lower", "") or getattr(operation, "name_lower", "")
        if touched not in made:
            yield from _problem(operation, state)
        operation.state_forwards(migration.app_label, state)


def _problem(operation: Any, state: ProjectState) -> Iterator[str]:
    match operation:
        case operations.RemoveField():
            yield f"removes {operation.model_name}.{operation.name}: {_GONE}"
        case operations.DeleteModel():
            yield f"deletes {operation.name}: {_GONE}"
        case operations.RenameField():
            yield f"renames {operation.model_name}.{operation.old_name}: {_GONE}"
        case operations.RenameModel():
            yield f"renames {operation.old_name}: {_GONE}"
        case operations.AlterModelTable():
            yield f"renames the table of {operation.name}: {_GONE}"
        case operations.AddField() if _needs_a_value(operation.field):
            yield (
                f"adds {operation.model_name}.{operation.name} without null or db_default: "
                "processes of the version before insert rows without it"
            )
        case operations.AlterField():
            old = state.models[APP, operation.model_name_lower].get_field(operation.name)
            yield from (f"{operation.model_name}.{operation.name} {what}" for what in _narrowed(old, operation.field))


def _needs_a_value(field: models.Field[Any, Any]) -> bool:
    return not (field.null or field.many_to_many or field.db_default is not NOT_PROVIDED)


def _narrowed(old: models.Field[Any, Any], new: models.Field[Any, Any]) -> Iterator[str]:
    if old.null and not new.null:
        yield "becomes NOT NULL: processes of the version before still write nothing there"
    if old.get_internal_type() != new.get_internal_type():
        yield f"changes its type from {old.get_internal_type()} to {new.get_internal_type()}"
    if old.max_length and (new.max_length or 0) and new.max_length < old.max_length:
        yield f"becomes shorter: {old.max_length} to {new.max_length} characters"
    if not old.unique and new.unique:
        yield "becomes unique: processes of the version before may write the same value twice"
