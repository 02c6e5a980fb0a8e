"""Rules of the database that Django's constraints cannot say, and the check that they are there.

Triggers keep the logs of transitions and of images and the audit log append-only, let a metering interval be closed
once and no more, and refuse every change of a published price list, an issued invoice and a payment. That the intervals
of a VM or an image do not overlap is an exclusion constraint on PostgreSQL, made by a migration, and two triggers on
SQLite. Django rebuilds a table on SQLite when it changes and drops its triggers without a word: after every migrate
what is missing is put back, and the check `lifecycle.W001` finds what is not there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

_INTERVALS = "lifecycle_meteringinterval"
_LOG = "lifecycle_transition"
_IMAGE_INTERVALS, _IMAGE_LOG = "lifecycle_imageinterval", "lifecycle_imagechange"
_AUDIT = "lifecycle_auditentry"

#: The names by which an IntegrityError tells which rule was broken.
NO_OVERLAP = "metering_intervals_of_a_vm_do_not_overlap"
CLOSED_ONLY = "a_metering_interval_is_only_closed"
APPEND_ONLY = "a_transition_is_never_changed"
IMAGES_NO_OVERLAP = "metering_intervals_of_an_image_do_not_overlap"
IMAGES_CLOSED_ONLY = "an_image_interval_is_only_closed"
IMAGES_APPEND_ONLY = "a_change_of_an_image_is_never_changed"
AUDIT_ONLY_GROWS = "an_audit_entry_is_never_changed"
PRICES_FIXED = "a_published_price_list_is_never_changed"
ISSUED_FIXED = "an_issued_invoice_is_never_changed"
PAYMENTS_FIXED = "a_payment_is_never_changed"


_COLUMN = re.compile(r"\b(?:NEW|OLD)\.(\w+)")


@dataclass(frozen=True, slots=True)
class Guard:
    """A trigger, or the exclusion constraint, by name; `statements` make it (none: a migration does)."""

    name: str
    table: str
    statements: tuple[str, ...] = ()

    def named(self) -> set[str]:
        """The columns of its table that it looks at."""
        return set(_COLUMN.findall(" ".join(self.statements)))


# -- SQLite --------------------------------------------------------------------------------------


def _overlaps(table: str, key: str) -> str:
    return f"""\
(NEW.ended_at IS NULL OR NEW.ended_at > NEW.started_at) AND EXISTS (
  SELECT 1 FROM {table} other
  WHERE other.{key} = NEW.{key} AND (other.ended_at IS NULL OR other.ended_at > other.started_at)
    AND (other.ended_at IS NULL OR other.ended_at > NEW.started_at)
    AND (NEW.ended_at IS NULL OR other.started_at < NEW.ended_at)"""  # noqa: S608  # our names


#: What of an interval stays as it was written.
_KEPT = (
    "vm_id",
    "project_id",
    "opened_by_id",
    "state",
    "started_at",
    "machine_type",
    "vcpus",
    "memory_mib",
    "disk_gib",
    "family",
    "labels",
    "zone",
)
_IMAGE_KEPT = ("image_id", "project_id", "opened_by_id", "size_mib", "started_at")
#: What of a transition stays; `user_id` is emptied when the person's account is removed.
_WRITTEN_ONCE = (
    *("id", "vm_id", "number", "from_state", "to_state", "action", "reason", "operation_id", "asked_by"),
    *("occurred_at", "recorded_at"),
)
_IMAGE_WRITTEN_ONCE = ("id", "image_id", "project_id", "kind", "size_mib", "occurred_at", "recorded_at")
#: What of an audit entry stays: all but the links to rows that may go away.
_AUDITED = ("id", "at", "who", "action", "project_name", "target", "details", "channel", "ip", "agent")

_PRICE_LISTS, _PRICES = "lifecycle_pricelist", "lifecycle_price"
_INVOICES, _LINES, _PAYMENTS = "lifecycle_invoice", "lifecycle_invoiceline", "lifecycle_payment"
#: What of a published price list stays; `published_by_id` is emptied when the person's account is removed.
_PRICED = ("version", "title", "currency", "valid_from", "sustained", "sla", "published_at")
_PUBLISHED = "OLD.published_at IS NOT NULL"
_PAID = ("invoice_id", "amount", "method", "reference", "received_at")
#: Rows that stay with the row they belong to: rule, a word, table, the other's table, the key, when that is fixed.
_PARTS = (
    (PRICES_FIXED, "price", _PRICES, _PRICE_LISTS, "price_list_id", "published_at IS NOT NULL"),
    (ISSUED_FIXED, "line", _LINES, _INVOICES, "invoice_id", "status = 'issued'"),
)


def _of_fixed(parent: str, key: str, fixed: str, row: str) -> str:
    return f"EXISTS (SELECT 1 FROM {parent} p WHERE p.id = {row}.{key} AND p.{fixed})"  # noqa: S608  # our names


def _of_any_fixed(parent: str, key: str, fixed: str, rows: Iterable[str]) -> str:
    return " OR ".join(_of_fixed(parent, key, fixed, row) for row in rows)


def _changes(columns: Iterable[str]) -> str:
    return " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in columns)


def _sqlite(name: str, table: str, moment: str, when: str, rule: str) -> Guard:
    return Guard(
        name,
        table,
        (
            f"DROP TRIGGER IF EXISTS {name}",
            f"CREATE TRIGGER {name} BEFORE {moment} ON {table} WHEN {when}\nBEGIN SELECT RAISE(ABORT, '{rule}'); END",
        ),
    )


def _sqlite_no_overlap(name: str, table: str, key: str) -> tuple[Guard, Guard]:
    shared = _overlaps(table, key)
    return (
        _sqlite(f"{name}_insert", table, "INSERT", f"{shared})", name),
        _sqlite(f"{name}_update", table, "UPDATE", f"{shared} AND other.id <> OLD.id)", name),
    )


_SQLITE = (
    *_sqlite_no_overlap(NO_OVERLAP, _INTERVALS, "vm_id"),
    *_sqlite_no_overlap(IMAGES_NO_OVERLAP, _IMAGE_INTERVALS, "image_id"),
    _sqlite(
        IMAGES_CLOSED_ONLY,
        _IMAGE_INTERVALS,
        "UPDATE",
        f"OLD.ended_at IS NOT NULL OR {_changes(_IMAGE_KEPT)}",
        IMAGES_CLOSED_ONLY,
    ),
    _sqlite(IMAGES_APPEND_ONLY, _IMAGE_LOG, "UPDATE", _changes(_IMAGE_WRITTEN_ONCE), IMAGES_APPEND_ONLY),
    _sqlite(CLOSED_ONLY, _INTERVALS, "UPDATE", f"OLD.ended_at IS NOT NULL OR {_changes(_KEPT)}", CLOSED_ONLY),
    _sqlite(APPEND_ONLY, _LOG, "UPDATE", _changes(_WRITTEN_ONCE), APPEND_ONLY),
    _sqlite(AUDIT_ONLY_GROWS, _AUDIT, "UPDATE", _changes(_AUDITED), AUDIT_ONLY_GROWS),
    _sqlite(
        PRICES_FIXED, _PRICE_LISTS, "UPDATE", f"OLD.published_at IS NOT NULL AND ({_changes(_PRICED)})", PRICES_FIXED
    ),
    *(
        _sqlite(f"{name}_{kind}_{moment.lower()}", table, moment, _of_any_fixed(parent, key, fixed, rows), name)
        for name, kind, table, parent, key, fixed in _PARTS
        for moment, rows in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")))
    ),
    _sqlite(ISSUED_FIXED, _INVOICES, "UPDATE", "OLD.status = 'issued'", ISSUED_FIXED),
    _sqlite(PAYMENTS_FIXED, _PAYMENTS, "UPDATE", _changes(_PAID), PAYMENTS_FIXED),
)


# -- PostgreSQL ----------------------------------------------------------------------------------


def _postgres(name: str, table: str, when: str) -> Guard:
    """A trigger that raises what a constraint would. Making it waits for the writers of the table, for a moment."""
    raises = f"RAISE EXCEPTION '{name}' USING ERRCODE = 'integrity_constraint_violation'"
    return Guard(
        name,
        table,
        (
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {raises}; END $$",
            f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {name}()",
        ),
    )


def _postgres_part(name: str, kind: str, table: str, parent: str, key: str, fixed: str) -> Guard:
    """A trigger that looks at another table: its condition cannot stand in WHEN."""
    own = f"{name}_{kind}"[:63]
    raises = f"RAISE EXCEPTION '{name}' USING ERRCODE = 'integrity_constraint_violation'"
    looks = [
        f"IF {when} {_of_fixed(parent, key, fixed, row)} THEN {raises}; END IF;"
        for when, row in (("", "NEW"), ("TG_OP = 'UPDATE' AND", "OLD"))
    ]
    body = f"BEGIN {' '.join(looks)} RETURN NEW; END"
    return Guard(
        own,
        table,
        (
            f"CREATE OR REPLACE FUNCTION {own}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER {own} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {own}()",
        ),
    )


def _differs(columns: Iterable[str]) -> str:
    return " OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in columns)


_POSTGRES = (
    Guard(NO_OVERLAP, _INTERVALS),
    Guard(IMAGES_NO_OVERLAP, _IMAGE_INTERVALS),
    _postgres(IMAGES_CLOSED_ONLY, _IMAGE_INTERVALS, f"OLD.ended_at IS NOT NULL OR {_differs(_IMAGE_KEPT)}"),
    _postgres(IMAGES_APPEND_ONLY, _IMAGE_LOG, _differs(_IMAGE_WRITTEN_ONCE)),
    _postgres(CLOSED_ONLY, _INTERVALS, f"OLD.ended_at IS NOT NULL OR {_differs(_KEPT)}"),
    _postgres(APPEND_ONLY, _LOG, _differs(_WRITTEN_ONCE)),
    _postgres(AUDIT_ONLY_GROWS, _AUDIT, _differs(_AUDITED)),
    _postgres(PRICES_FIXED, _PRICE_LISTS, f"{_PUBLISHED} AND ({_differs(_PRICED)})"),
    *(_postgres_part(*part) for part in _PARTS),
    _postgres(ISSUED_FIXED, _INVOICES, "OLD.status = 'issued'"),
    _postgres(PAYMENTS_FIXED, _PAYMENTS, _differs(_PAID)),
)

_GUARDS = {"sqlite": _SQLITE, "postgresql": _POSTGRES}


# -- installing and checking ---------------------------------------------------------------------


def names(connection: BaseDatabaseWrapper) -> set[str]:
    """The guards this kind of database is to have, by name."""
    return {guard.name for guard in _GUARDS.get(connection.vendor, ())}


def missing(connection: BaseDatabaseWrapper) -> list[Guard]:
    """The guards that are not in the database, or not as they are here; none for what does not exist yet.

    A trigger on SQLite may name a column that is not there, and then breaks every later change of any table.
    """
    found = _installed(connection)
    lacking = [guard for guard in _GUARDS.get(connection.vendor, ()) if not _is_there(guard, found)]
    columns = _columns(connection, {guard.table for guard in lacking})
    return [guard for guard in lacking if guard.table in columns and guard.named() <= columns[guard.table]]


def install(connection: BaseDatabaseWrapper) -> list[Guard]:
    """Put back the triggers that are missing. Returns them."""
    made = [guard for guard in missing(connection) if guard.statements]
    with connection.cursor() as cursor:
        for statement in (statement for guard in made for statement in guard.statements):
            cursor.execute(statement)
    return made


def _columns(connection: BaseDatabaseWrapper, tables: set[str]) -> dict[str, set[str]]:
    """The columns of those of the tables that exist."""
    if not tables:
        return {}
    with connection.cursor() as cursor:
        there = tables.intersection(connection.introspection.table_names(cursor))
        return {
            table: {column.name for column in connection.introspection.get_table_description(cursor, table)}
            for table in there
        }


def _installed(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Name -> text of what the database has; PostgreSQL tells no text."""
    queries = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname, '' FROM pg_trigger WHERE NOT tgisinternal "
        "UNION SELECT conname, '' FROM pg_constraint WHERE contype = 'x'",
    }
    if connection.vendor not in queries:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(queries[connection.vendor])
        return dict(cursor.fetchall())


def _is_there(guard: Guard, found: dict[str, str]) -> bool:
    text = found.get(guard.name)
    return text is not None and (not text or text == guard.statements[-1])


def after_migrate(sender: AppConfig, using: str, **_kwargs: Any) -> None:
    """Put back what a migration dropped."""
    install(connections[using])


def check(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """A warning and no error: an error would keep `migrate`, which puts the guards back, from running."""
    return [
        checks.Warning(
            f"The database lacks {guard.name}: nothing there refuses what it is to refuse.",
            hint="Run: ./portal manage migrate",
            obj=guard.table,
            id="lifecycle.W001",
        )
        for alias in databases or ()
        for guard in missing(connections[alias])
    ]


def connect(config: AppConfig) -> None:
    """Install after every migrate; check with Django's database checks."""
    from django.db.models.signals import post_migrate

    post_migrate.connect(after_migrate, sender=config, dispatch_uid="lifecycle.guards")
    checks.register(check, checks.Tags.database)
