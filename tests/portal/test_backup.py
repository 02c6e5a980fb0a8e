"""`./portal backup` and `restore`: a round trip on both databases, and everything that is refused."""

import gzip
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.portal.test_story import OURS
from vmportal.launcher import archive, cli
from vmportal.launcher.backup import backup
from vmportal.launcher.commands import run
from vmportal.launcher.databases import PostgreSQL, SQLite, of
from vmportal.launcher.display import Display
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation
from vmportal.launcher.postgres import private_postgres
from vmportal.launcher.restore import restore

QUIET = Display(quiet=True)
EMAIL = "EMAIL_URL=smtp://mail.example.org:25\n"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests' own environment says does not reach the installations under test."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VMPORTAL_VENV", sys.prefix)


def manage(installation: Installation, *words: str, url: str = "") -> str:
    """manage.py with the installation's settings."""
    extra = {"DEBUG": "1", **({"DATABASE_URL": url} if url else {})}
    argv: list[str | Path] = [sys.executable, CHECKOUT / "manage.py", *words]
    return run(argv, " ".join(words), env=installation.environment(extra), cwd=CHECKOUT)


def made(var: Path) -> Installation:
    """An installation that was set up but for hosts: database, first rows, settings, an image, a session."""
    installation = Installation(var)
    installation.prepare()
    installation.env_file.write_text(EMAIL)
    (var / "images").mkdir()
    (var / "images" / "tiny-0123456789ab.qcow2").write_bytes(os.urandom(5000))
    manage(installation, "migrate", "--verbosity=0")
    manage(installation, "bootstrap")
    return installation


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an installation, made once; tests get copies."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        patch.setenv("VMPORTAL_VENV", sys.prefix)
        return made(tmp_path_factory.mktemp("pattern") / "var").var


@pytest.fixture
def short(tmp_path: Path) -> Iterator[Path]:
    """A directory whose path leaves room for sockets."""
    path = Path(tempfile.mkdtemp(prefix="vmp-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def installation(pattern: Path, short: Path) -> Installation:
    shutil.copytree(pattern, short / "var")
    return Installation(short / "var")


@pytest.fixture(scope="module")
def saved(pattern: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the pattern, images included, made once."""
    file = tmp_path_factory.mktemp("saved") / "portal.tar.gz"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        patch.setenv("VMPORTAL_VENV", sys.prefix)
        backup(Installation(pattern), file, True, QUIET)
    return file


def query(installation: Installation, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(installation.var / "db.sqlite3")) as connection:
        return connection.execute(sql).fetchall()


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file below, but for the lock and empty logs that a look leaves."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "portal.lock"
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def members(file: Path) -> list[str]:
    with tarfile.open(file) as tar:
        return tar.getnames()


def rewritten(file: Path, target: Path, change: Any) -> Path:
    """The backup with its members (name, bytes) changed by `change`."""
    with tarfile.open(file) as tar:
        held = {each.name: (tar.extractfile(each) or io.BytesIO()).read() for each in tar}
    change(held)
    with tarfile.open(target, "w:gz") as tar:
        for name, content in held.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target


def with_manifest(file: Path, target: Path, **changes: Any) -> Path:
    def change(held: dict[str, bytes]) -> None:
        held["manifest.json"] = json.dumps({**json.loads(held["manifest.json"]), **changes}).encode()

    return rewritten(file, target, change)


# -- the way there and back ----------------------------------------------------------------------


def test_a_backup_holds_all_that_an_installation_needs_and_its_owner_alone_reads_it(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--var", str(installation.var), "backup"]) == 0
    (file,) = (installation.var / "backups").iterdir()
    assert str(file) in capsys.readouterr().out
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert file.name.startswith(f"vmportal-{installation.id()}-")
    assert members(file) == ["manifest.json", "database.sqlite3", "installation", "env", "secrets/secret_key"]
    about = archive.read_manifest(file)
    assert (about.installation, about.engine, about.images) == (installation.id(), "sqlite", False)
    assert about.migrations["lifecycle"][0] == "0001_initial"
    assert about.version == "0.1.0"
    assert about.files["env"]["bytes"] == len(EMAIL)
    assert [path.name for path in installation.var.glob(".backup-*")] == []


def test_a_restored_installation_is_the_one_that_was_saved(installation: Installation, short: Path) -> None:
    file = short / "saved.tar.gz"
    write = "UPDATE lifecycle_project SET slug = 'as-it-was', last_event_number = 7"
    with closing(sqlite3.connect(installation.var / "db.sqlite3")) as connection, connection:
        connection.execute(write)
        connection.execute("INSERT INTO django_session VALUES ('stolen', 'x', '2099-01-01')")
    assert cli.main(["--var", str(installation.var), "backup", str(file), "--images"]) == 0
    again = Installation(short / "again")
    assert cli.main(["--var", str(again.var), "restore", str(file)]) == 0

    assert again.id() == installation.id()
    assert again.env_file.read_text() == EMAIL
    assert (again.secrets / "secret_key").read_text() == (installation.secrets / "secret_key").read_text()
    assert (mode(again.env_file), mode(again.secrets / "secret_key"), mode(again.secrets)) == (0o600, 0o600, 0o700)
    image = again.var / "images" / "tiny-0123456789ab.qcow2"
    assert image.read_bytes() == (installation.var / "images" / image.name).read_bytes()
    assert query(again, "SELECT slug FROM lifecycle_project") == [("as-it-was",)]
    assert query(again, "SELECT username FROM lifecycle_user") == [("admin",)]
    assert query(again, "SELECT count(*) FROM django_session") == [(0,)]
    assert query(again, "SELECT last_event_number FROM lifecycle_project") == [(1_000_007,)]
    assert "no issues" in manage(again, "check", "--tag=database", "--database=default")
    assert [path.name for path in again.var.iterdir() if path.name.startswith((".restore", "replaced"))] == []


def test_a_backup_under_load_is_of_one_moment(installation: Installation, short: Path) -> None:
    """Writers go on beside it; what one of them writes in one transaction is in the backup whole, or not at all."""
    database, stop = installation.var / "db.sqlite3", threading.Event()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE twin (number INTEGER, side TEXT, filler BLOB)")
        connection.executemany("INSERT INTO twin VALUES (0, 'filler', ?)", [(os.urandom(4096),)] * 3000)
    written = 0

    def write() -> None:
        nonlocal written
        with closing(sqlite3.connect(database, timeout=120)) as writer:
            while not stop.is_set():
                with writer:
                    writer.execute("INSERT INTO twin VALUES (?, 'left', NULL)", (written,))
                    writer.execute("INSERT INTO twin VALUES (?, 'right', NULL)", (written,))
                written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        counts = []
        for number in range(3):
            copy = short / f"copy-{number}"
            before = written
            SQLite(database).copy(copy)
            with closing(sqlite3.connect(copy)) as connection:
                found = dict(connection.execute("SELECT side, count(*) FROM twin GROUP BY side").fetchall())
            assert found.get("left") == found.get("right")
            assert found.get("left", 0) >= before
            counts.append(found.get("left", 0))
    finally:
        stop.set()
        thread.join()
    assert written > counts[0]
    assert counts == sorted(counts)


def test_an_older_database_is_brought_to_this_version(installation: Installation, short: Path) -> None:
    manage(installation, "migrate", "lifecycle", "0003", "--verbosity=0")
    backup(installation, short / "old.tar.gz", False, QUIET)
    assert archive.read_manifest(short / "old.tar.gz").migrations["lifecycle"][-1] == "0003_nothing_is_lost"
    again = Installation(short / "again")
    restore(again, short / "old.tar.gz", False, QUIET)
    assert query(again, "SELECT count(*) FROM lifecycle_meteringinterval") == [(0,)]
    assert manage(again, "migrate", "--check") == ""


def test_what_is_replaced_is_kept_beside_it(
    installation: Installation, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(installation.var / "db.sqlite3")) as connection, connection:
        connection.execute("UPDATE lifecycle_project SET slug = 'since'")
    installation.env_file.write_text("LOG_LEVEL=DEBUG\n")
    restore(installation, saved, True, Display())
    (aside,) = installation.var.glob("replaced-*")
    assert str(aside) in capsys.readouterr().out
    assert mode(aside) == 0o700
    assert (aside / "env").read_text() == "LOG_LEVEL=DEBUG\n"
    with closing(sqlite3.connect(aside / "db.sqlite3")) as connection:
        assert connection.execute("SELECT slug FROM lifecycle_project").fetchall() == [("since",)]
    assert query(installation, "SELECT slug FROM lifecycle_project") == [("default",)]
    assert installation.env_file.read_text() == EMAIL


# -- what is refused, nothing being changed ------------------------------------------------------


def refused(installation: Installation, file: Path, match: str, replace: bool = False) -> None:
    before = snapshot(installation.var) if installation.var.exists() else {}
    with pytest.raises(PortalError, match=match):
        restore(installation, file, replace, QUIET)
    assert snapshot(installation.var) == before


def test_an_installation_is_never_overwritten_unasked(installation: Installation, saved: Path) -> None:
    refused(installation, saved, r"holds an installation already .*the same.*--replace")
    (installation.var / "installation").write_text("abcdef\n")
    refused(installation, saved, r"abcdef; the backup is of the installation [0-9a-f]{6}\).*--var")


@pytest.mark.parametrize("twin", [False, True])
def test_a_running_installation_is_not_restored_into(
    installation: Installation, saved: Path, short: Path, twin: bool
) -> None:
    """Nor is one that runs from another directory brought to life a second time."""
    runs = {"VMPORTAL_SUPERVISED": str(installation.var), "VMPORTAL_INSTALLATION": installation.id()}
    with subprocess.Popen(["sleep", "600"], env={**os.environ, **runs}) as process:
        try:
            where = Installation(short / "again") if twin else installation
            refused(where, saved, "in another directory" if twin else "is running: stop it first", replace=True)
        finally:
            process.kill()
    if twin:
        assert restore(Installation(short / "again"), saved, False, QUIET) == 0


def test_a_second_command_waits_for_none(installation: Installation, saved: Path) -> None:
    with installation.lock():
        with pytest.raises(PortalError, match=r"Another \./portal is at work"):
            backup(installation, None, False, QUIET)
        refused(installation, saved, "Another ./portal is at work", replace=True)


def test_a_damaged_backup_is_refused(saved: Path, short: Path) -> None:
    content, file, target = saved.read_bytes(), short / "damaged", Installation(short / "again")
    file.write_bytes(content[: len(content) // 2])
    refused(target, file, "damaged")
    for place in (len(content) // 3, len(content) // 2, len(content) - 2000):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        refused(target, file, "damaged")


def test_a_changed_member_is_refused_by_name(saved: Path, short: Path) -> None:
    def change(held: dict[str, bytes]) -> None:
        held["env"] = held["env"].replace(b"25", b"26")

    file = rewritten(saved, short / "changed", change)
    refused(Installation(short / "again"), file, "env is not what was saved")
    file = rewritten(saved, short / "less", lambda held: held.pop("secrets/secret_key"))
    refused(Installation(short / "again"), file, "secrets/secret_key is missing")
    file = rewritten(saved, short / "more", lambda held: held.update({"secrets/key": b"x"}))
    refused(Installation(short / "again"), file, "'secrets/key' is not in its manifest")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "secrets/../../evil", "run/portal.lock", "images/.lock"])
def test_a_member_that_is_none_of_ours_is_refused_before_it_is_written(saved: Path, short: Path, name: str) -> None:
    def change(held: dict[str, bytes]) -> None:
        about = json.loads(held["manifest.json"])
        about["files"][name] = {"bytes": 1, "sha256": "0"}
        held.update({"manifest.json": json.dumps(about).encode(), name: b"x"})

    file = rewritten(saved, short / "evil.tar.gz", change)
    refused(Installation(short / "a" / "b"), file, "is no backup of vmportal: it holds")
    assert not (short / "evil").exists()
    assert not (short / "a" / "evil").exists()


def test_what_is_no_backup_is_refused(saved: Path, short: Path) -> None:
    target = Installation(short / "again")
    refused(target, short / "missing", "does not exist")
    (short / "text").write_text("hello")
    refused(target, short / "text", "is no backup")
    (short / "empty").write_bytes(gzip.compress(b""))
    refused(target, short / "empty", "is no backup")
    file = rewritten(saved, short / "tar", lambda held: held.pop("manifest.json"))
    refused(target, file, "does not begin with a manifest")
    refused(target, with_manifest(saved, short / "other", format="other"), "but 'other'")
    refused(target, with_manifest(saved, short / "format", formatVersion=2), "in format 2; this one reads format 1")
    file = rewritten(saved, short / "list", lambda held: held.update({"manifest.json": b"[]"}))
    refused(target, file, "its manifest cannot be read")
    for number, files in enumerate(([], {"installation": 7}, {"installation": {}})):
        odd = with_manifest(saved, short / f"files-{number}", files=files)
        refused(target, odd, "damaged")


def test_a_newer_database_is_refused_with_what_it_needs(saved: Path, short: Path) -> None:
    known = archive.read_manifest(saved).migrations
    newer = {**known, "lifecycle": [*known["lifecycle"], "9999_of_tomorrow"], "money": ["0001_initial"]}
    file = with_manifest(saved, short / "newer", migrations=newer, version="9.0")
    refused(Installation(short / "again"), file, r"vmportal 9.0.*2 unknown.*lifecycle.9999_of_tomorrow.*Update")


def test_a_database_that_cannot_be_migrated_changes_nothing(installation: Installation, short: Path) -> None:
    with closing(sqlite3.connect(installation.var / "db.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM django_migrations WHERE app = 'lifecycle' AND name LIKE '0003%'")
    backup(installation, short / "odd.tar.gz", False, QUIET)
    refused(installation, short / "odd.tar.gz", "could not be brought to this version", replace=True)


def test_a_backup_says_what_is_in_its_way(installation: Installation, short: Path) -> None:
    with pytest.raises(PortalError, match="no installation"):
        backup(Installation(short / "nothing"), None, False, QUIET)
    assert not (short / "nothing").exists()
    (short / "there").write_text("")
    with pytest.raises(PortalError, match="exists already"):
        backup(installation, short / "there", False, QUIET)
    with pytest.raises(PortalError, match="no directory that can be written"):
        backup(installation, short / "no" / "where", False, QUIET)
    (installation.var / "db.sqlite3").unlink()
    with pytest.raises(PortalError, match="nothing to save before the first"):
        backup(installation, short / "new", False, QUIET)
    assert not (short / "new").exists()


def test_a_damaged_database_is_not_saved_as_if_it_were_whole(installation: Installation, short: Path) -> None:
    path = installation.var / "db.sqlite3"
    manage(installation, "shell", "-c", "from django.db import connection as c; c.cursor().execute('VACUUM')")
    content = bytearray(path.read_bytes())
    for page in range(20, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 200] = os.urandom(200)
    path.write_bytes(content)
    with pytest.raises(PortalError, match=r"is damaged|could not be copied"):
        backup(installation, short / "new", False, QUIET)
    assert not (short / "new").exists()


# -- PostgreSQL ----------------------------------------------------------------------------------


def test_no_password_stands_in_a_message_or_a_command() -> None:
    database = of("postgres://me:geheim%21@db.example.org:5433/portal?sslmode=require")
    assert isinstance(database, PostgreSQL)
    assert database.variables == {
        "PGHOST": "db.example.org",
        "PGPORT": "5433",
        "PGUSER": "me",
        "PGPASSWORD": "geheim!",
        "PGDATABASE": "portal",
        "PGSSLMODE": "require",
    }
    assert "geheim" not in database.place
    with pytest.raises(PortalError, match="only sqlite and postgres"):
        of("mysql://x/y")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with private_postgres() as url:
        yield url


def new_database(server: str, name: str) -> str:
    database = of(server)
    assert isinstance(database, PostgreSQL)
    run(["createdb", name], "createdb", env={**os.environ, **database.variables})
    return server.replace("/postgres?", f"/{name}?")


def psql(url: str, sql: str) -> str:
    database = of(url)
    assert isinstance(database, PostgreSQL)
    return run(["psql", "-AtXc", sql], sql, env={**os.environ, **database.variables})


def test_a_round_trip_on_postgresql(server: str, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = new_database(server, "first"), new_database(server, "second")
    installation = Installation(short / "var")
    installation.prepare()
    installation.env_file.write_text(f"DATABASE_URL={first}\n")
    manage(installation, "migrate", "--verbosity=0")
    manage(installation, "bootstrap")
    file = short / "saved.tar.gz"
    backup(installation, file, False, QUIET)
    about = archive.read_manifest(file)
    assert (about.engine, about.migrations["lifecycle"][0]) == ("postgresql", "0001_initial")

    # Elsewhere: the terminal names another database, which the restored settings then say.
    monkeypatch.setenv("DATABASE_URL", second)
    again = Installation(short / "again")
    restore(again, file, False, QUIET)
    assert again.file_settings() == {"DATABASE_URL": second}
    assert psql(second, "SELECT username FROM lifecycle_user") == "admin"
    assert "no issues" in manage(again, "check", "--tag=database", "--database=default")
    assert psql(first, "SELECT last_event_number < 1000000 FROM lifecycle_project") == "t"

    # In its place: what was there is saved first. And a second time, when we have made the schema.
    psql(second, "UPDATE lifecycle_project SET slug = 'since'; CREATE TABLE later (x int)")
    for _again in range(2):
        restore(again, file, True, QUIET)
        assert psql(second, "SELECT slug FROM lifecycle_project") == "default"
        assert psql(second, "SELECT to_regclass('later') IS NULL") == "t"
    kept = sorted(again.var.glob("replaced-*/database.dump"))
    assert b"PGDMP" in kept[0].read_bytes()[:5]
    backup(again, short / "once-more.tar.gz", False, QUIET)

    # Not while others use it, not one that is another's, not one of the other kind.
    database = of(second)
    assert isinstance(database, PostgreSQL)
    with subprocess.Popen(
        ["psql", "-Xc", "SELECT pg_sleep(600)"], env={**os.environ, **database.variables}, stdout=subprocess.DEVNULL
    ) as other:
        try:
            while not database.others():
                pass
            refused(again, file, "1 other program is connected to the database second", replace=True)
        finally:
            other.kill()
    monkeypatch.setenv("DATABASE_URL", first)
    refused(Installation(short / "third"), file, "is not empty, and .* is not the installation")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{short / 'x.sqlite3'}")
    refused(Installation(short / "third"), file, "is postgresql, and it would go into .* set DATABASE_URL")
