"""The database of an installation, as `backup` and `restore` need it: copied while it is used, and put back whole."""

import os
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from vmportal.launcher.commands import run
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT

Migrations = dict[str, list[str]]
SQLITE_WAIT_SECONDS = 20
#: Options of a DATABASE_URL and libpq's variables for them; a password stands in no command line.
LIBPQ = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "passfile": "PGPASSFILE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


class Database(Protocol):
    """One of the two engines."""

    engine: str
    member: str

    @property
    def place(self) -> str:
        """What it is called in a message, without a password."""

    def copy(self, target: Path) -> Migrations:
        """Write all of it, as of one moment, to `target`; the migrations that are applied in the copy."""

    def holds_something(self) -> bool:
        """Whether there is anything in it."""

    def others(self) -> int:
        """How many programs are connected to it now, as far as that can be known."""


def of(url: str) -> "SQLite | PostgreSQL":
    """The database of a DATABASE_URL. Raises PortalError for an engine that we do not save."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return SQLite(CHECKOUT / unquote(parts.path[1:]))
    if parts.scheme in {"postgres", "postgresql", "psql", "pgsql", "postgresql+psycopg"}:
        return PostgreSQL(_libpq(url))
    raise PortalError(f"DATABASE_URL begins with {parts.scheme!r}: only sqlite and postgres can be saved and restored.")


def _libpq(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    given = {
        "host": unquote(parts.hostname or ""),
        "port": str(parts.port or ""),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "dbname": unquote(parts.path.lstrip("/")),
        **dict(parse_qsl(parts.query)),
    }
    return {LIBPQ[key]: value for key, value in given.items() if value and key in LIBPQ}


@dataclass(frozen=True)
class SQLite:
    """A database in a file."""

    path: Path
    engine = "sqlite"
    member = "database.sqlite3"

    @property
    def place(self) -> str:
        return str(self.path)

    def copy(self, target: Path) -> Migrations:
        """By SQLite's online backup, in one step: writers go on beside it. Raises PortalError when that fails."""
        if not self.path.exists():
            raise PortalError(f"There is no database in {self.path}: nothing to save before the first ./portal up.")
        target.touch(mode=0o600)
        source = f"{self.path.as_uri()}?mode=rw"  # never made anew; a log beside it may have to be read
        try:
            with (
                closing(sqlite3.connect(source, uri=True, timeout=SQLITE_WAIT_SECONDS)) as live,
                closing(sqlite3.connect(target)) as copy,
            ):
                live.backup(copy)
                # One file that is complete by itself: a reader needs no log beside it.
                copy.execute("PRAGMA journal_mode=DELETE")
                _check_whole(copy, self.path)
                return _by_app(copy.execute("SELECT app, name FROM django_migrations ORDER BY id").fetchall())
        except sqlite3.Error as error:
            raise PortalError(f"The database {self.path} could not be copied: {error}.") from error

    def holds_something(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def others(self) -> int:
        return 0

    def files(self) -> list[Path]:
        """The database's file and the logs beside it, those that exist."""
        beside = [self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm", "-journal"))]
        return [path for path in beside if path.exists()]


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise PortalError(f"The database {path} is damaged: {found}.")


@dataclass(frozen=True)
class PostgreSQL:
    """A database of a server, reached as `variables` (libpq's) say."""

    variables: dict[str, str]
    engine = "postgresql"
    member = "database.dump"

    @property
    def place(self) -> str:
        name, host = self.variables.get("PGDATABASE", "?"), self.variables.get("PGHOST", "this machine")
        return f"the database {name} on {host}"

    def copy(self, target: Path) -> Migrations:
        """By pg_dump's custom format: one snapshot, writers go on. Raises PortalError with its last lines."""
        target.touch(mode=0o600)
        self._run(
            ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}"],
            f"{self.place} could not be saved",
        )
        return dumped_migrations(target)

    def holds_something(self) -> bool:
        return self._ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") != "0"

    def others(self) -> int:
        return int(
            self._ask(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
        )

    def load(self, dump: Path) -> None:
        """Put `dump` in the place of all that is there, in one transaction. Raises PortalError, nothing changed."""
        unreadable = "the saved database cannot be read"
        listed, script = dump.with_suffix(".list"), dump.with_suffix(".sql")
        # The schema itself is made by us: whether a dump makes it depends on who made it last.
        contents = run(["pg_restore", "--list", str(dump)], unreadable).splitlines()
        listed.write_text("\n".join(line for line in contents if "SCHEMA - public" not in line) + "\n")
        try:
            words = ["--no-owner", "--no-privileges", f"--use-list={listed}", f"--file={script}"]
            run(["pg_restore", *words, str(dump)], unreadable)
            self._run(
                [
                    *("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"),
                    *("--command=DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;", f"--file={script}"),
                ],
                f"the backup could not be written to {self.place}",
            )
        finally:
            script.unlink(missing_ok=True)
            listed.unlink()

    def _ask(self, query: str) -> str:
        argv = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={query}"]
        return self._run(argv, f"{self.place} does not answer").strip()

    def _run(self, argv: Sequence[str], failure: str) -> str:
        return run(argv, failure, env={**os.environ, **self.variables, "PGAPPNAME": "vmportal backup"})


def dumped_migrations(dump: Path) -> Migrations:
    """The migrations that are applied in a dump. Raises PortalError when it cannot be read."""
    argv = ["pg_restore", "--data-only", "--table=django_migrations", "--file=-", str(dump)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PortalError("The saved database cannot be read.", done.stderr[-2000:])
    lines = iter(done.stdout.splitlines())
    columns: list[str] = []
    for line in lines:
        if line.startswith("COPY public.django_migrations ("):
            columns = line.partition("(")[2].partition(")")[0].split(", ")
            break
    rows = []
    for line in lines:
        if line == "\\.":
            break
        row = dict(zip(columns, line.split("\t"), strict=True))
        rows.append((row["app"], row["name"]))
    return _by_app(rows)


def _by_app(rows: Sequence[tuple[str, str]]) -> Migrations:
    found: Migrations = {}
    for app, name in rows:
        found.setdefault(app, []).append(name)
    if "lifecycle" not in found:
        raise PortalError("This is no database of vmportal: none of its migrations is applied.")
    return found
