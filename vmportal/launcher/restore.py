"""`./portal restore FILE`: an installation as a backup has it. What was there is kept beside it, never deleted.

Everything is unpacked, checked and (a SQLite database) brought to this version in a directory of its own first: until
that is done, nothing of the installation has changed.
"""

import json
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from vmportal.launcher import archive, databases, environment, packages
from vmportal.launcher.archive import Manifest
from vmportal.launcher.backup import contents, database_url, image_store, need_client
from vmportal.launcher.commands import run
from vmportal.launcher.databases import PostgreSQL, SQLite
from vmportal.launcher.display import Display
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation, check_path, write_private
from vmportal.launcher.processes import carries

IDENTITY = ("installation", "env", "secrets")


def restore(installation: Installation, file: Path, replace: bool, display: Display) -> int:
    """Put the backup in `file` into the installation's directory. Always 0.

    `replace`: also where there is an installation already, which is set aside. Raises PortalError for a backup or a
    target that is refused; nothing has changed then.
    """
    manifest = archive.read_manifest(file)
    check_path(installation.var)
    _make_directories(installation)
    with installation.lock():
        check_stopped(installation, manifest)
        check_free(installation, manifest, replace)
        staged = Installation(Path(mkdtemp(prefix=".restore-", dir=installation.var)))
        try:
            told, aside = _restore(installation, staged, file, display)
        finally:
            shutil.rmtree(staged.var, ignore_errors=True)
    _tell(installation, manifest, told, display)
    if aside.exists():
        display.say(f"What was there before is in {aside}.")
    return 0


def _make_directories(installation: Installation) -> None:
    """What the lock and the copies need. No identity is made: the backup brings it."""
    try:
        installation.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PortalError(f"{installation.var} cannot hold an installation: {error.strerror}.") from error


def check_stopped(installation: Installation, manifest: Manifest) -> None:
    """Raises PortalError while this installation, or another with the backup's identity on this machine, runs."""
    if carries(installation.marker):
        raise PortalError(f"The installation in {installation.var} is running: stop it first (./portal down).")
    twins = _supervised(f"VMPORTAL_INSTALLATION={manifest.installation}")
    if twins:
        raise PortalError(
            f"The installation {manifest.installation} of this backup runs on this machine, in another directory: two "
            "of the same identity would fight about its VMs. Stop that one first (./portal --var ITS_DIRECTORY down)."
        )


def _supervised(marker: str) -> list[int]:
    """The portal's own processes (not a shell that happens to have the variable) with `marker`."""
    found = []
    for pid in carries(marker):
        try:
            known = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if b"VMPORTAL_SUPERVISED=" in known:
            found.append(pid)
    return found


def check_free(installation: Installation, manifest: Manifest, replace: bool) -> None:
    """Raises PortalError where an installation would be overwritten unasked."""
    there = [name for name in (*IDENTITY, "db.sqlite3") if _holds(installation.var / name)]
    if not there or replace:
        return
    identity = installation.var / "installation"
    name = identity.read_text(encoding="utf-8").strip() if identity.exists() else "an unfinished one"
    of = "the same" if name == manifest.installation else f"the installation {manifest.installation}"
    raise PortalError(
        f"{installation.var} holds an installation already ({name}; the backup is of {of}). Restore with --replace to "
        f"set aside what is there, or into another directory with --var."
    )


def _holds(path: Path) -> bool:
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def _restore(
    installation: Installation, staged: Installation, file: Path, display: Display
) -> tuple[dict[str, Any], Path]:
    """What `settle` told, and where what was replaced is, if anything was."""
    with display.step("Checking and unpacking the backup"):
        manifest = archive.unpack(file, staged.var)
    settings = _settings(installation, staged)
    database = databases.of(database_url(installation, settings))
    check_engine(manifest, database)
    _prepare_python(installation, display)
    with display.step("Comparing its version with ours"):
        check_known(manifest, staged)
    need_client(database, display)
    copy = staged.var / manifest.database
    aside = installation.var / f"replaced-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"
    if isinstance(database, SQLite):
        with display.step("Bringing the database to this version"):
            told = settle(staged, f"sqlite:///{copy}")
        _set_aside(installation, database, aside)
        database.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(copy, database.path)
        _place(staged, installation, settings)
        return told, aside
    _check_unused(database)
    if database.holds_something():
        _keep_old(installation, database, aside)
    with display.step("Loading the database"):
        database.load(copy)
    _set_aside(installation, None, aside)
    _place(staged, installation, settings)
    with display.step("Bringing the database to this version"):
        return settle(installation, settings.get("DATABASE_URL", "")), aside


def _settings(installation: Installation, staged: Installation) -> dict[str, str]:
    """What the restored installation will see. The terminal's DATABASE_URL wins over the backup's, and is kept."""
    chosen, saved = os.environ.get("DATABASE_URL"), staged.file_settings()
    if chosen and saved.get("DATABASE_URL", chosen) != chosen:
        lines = staged.env_file.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line.removeprefix("export ").lstrip().startswith("DATABASE_URL=")]
        write_private(staged.env_file, "\n".join([*kept, f"DATABASE_URL={chosen}", ""]))
    return {**os.environ, **staged.file_settings(), "VMPORTAL_VAR": str(installation.var)}


def check_engine(manifest: Manifest, database: SQLite | PostgreSQL) -> None:
    """Raises PortalError when the backup's database is of the other kind."""
    if manifest.engine != database.engine:
        raise PortalError(
            f"The backup's database is {manifest.engine}, and it would go into {database.place}, which is "
            f"{database.engine}: set DATABASE_URL to a {manifest.engine} database for this command."
        )


def _check_unused(database: PostgreSQL) -> None:
    if count := database.others():
        raise PortalError(
            f"{count} other program{'s are' if count > 1 else ' is'} connected to {database.place}: stop the portal "
            "that uses it first, wherever it runs."
        )


def _keep_old(installation: Installation, database: PostgreSQL, aside: Path) -> None:
    """Save the database that is going to be replaced. Raises PortalError when it is not this installation's to lose."""
    if not _holds(installation.var / "installation"):
        raise PortalError(
            f"{database.place} is not empty, and {installation.var} is not the installation that it belongs to. Name "
            "an empty database by DATABASE_URL."
        )
    aside.mkdir(mode=0o700, exist_ok=True)
    database.copy(aside / database.member)


def _prepare_python(installation: Installation, display: Display) -> None:
    """The virtual environment, as `up` makes it: a fresh machine has none yet."""
    if not environment.is_current(installation, "runtime"):
        if names := packages.missing(packages.RUNTIME):
            with display.step(f"Installing {len(names)} Debian packages") as say:
                packages.install(names, say)
        with display.step("Making the Python environment") as say:
            environment.install(installation, "runtime", say)


def check_known(manifest: Manifest, staged: Installation) -> None:
    """Raises PortalError when the backup's database has migrations that this version does not know: it is newer."""
    answer = _manage(staged, ["known_migrations"], "This version's migrations cannot be listed.")
    known = {(app, name) for app, names in json.loads(answer.splitlines()[-1]).items() for name in names}
    saved = [(app, name) for app, names in manifest.migrations.items() for name in names]
    newer = [f"{app}.{name}" for app, name in saved if (app, name) not in known]
    if newer:
        raise PortalError(
            f"The backup was written by vmportal {manifest.version}, whose database is newer than this version's "
            f"({len(newer)} unknown migration{'s' if len(newer) > 1 else ''}, first {newer[0]}). Update vmportal first."
        )


def settle(installation: Installation, url: str) -> dict[str, Any]:
    """Migrate the restored database forward, check its guards and settle what a return in time leaves open."""
    answer = _manage(installation, ["settle_restored"], "The database could not be brought to this version.", url)
    return dict(json.loads(answer.splitlines()[-1]))


def _manage(installation: Installation, words: list[str], failure: str, url: str = "") -> str:
    # DEBUG: no process that serves anybody is started, and whether the settings suit one is for `up` to say.
    extra = {"DEBUG": "1", "SECRET_KEY": secrets.token_urlsafe(60), **({"DATABASE_URL": url} if url else {})}
    argv: list[str | Path] = [installation.python, "-W", "ignore", CHECKOUT / "manage.py", *words]
    return run(argv, failure, env=installation.environment(extra))


def _set_aside(installation: Installation, database: SQLite | None, aside: Path) -> None:
    """Move what is going to be replaced into `aside`."""
    old = [installation.var / name for name in IDENTITY if _holds(installation.var / name)]
    for path in [*old, *(database.files() if database else [])]:
        aside.mkdir(mode=0o700, exist_ok=True)
        shutil.move(path, aside / path.name)


def _place(staged: Installation, installation: Installation, settings: dict[str, str]) -> None:
    """Put identity, settings, keys and images where they belong."""
    for name in IDENTITY:
        if (staged.var / name).exists():
            if (installation.var / name).is_dir():  # empty, or it had been set aside
                (installation.var / name).rmdir()
            shutil.move(staged.var / name, installation.var / name)
    store = image_store(installation.var, settings)
    for path in sorted((staged.var / "images").glob("*.qcow2")):
        store.mkdir(parents=True, exist_ok=True)
        path.chmod(0o444)
        if not (store / path.name).exists():  # their names hold their checksums
            shutil.move(path, store / path.name)
    installation.prepare()


def _tell(installation: Installation, manifest: Manifest, told: dict[str, Any], display: Display) -> None:
    display.say(
        f"{installation.var} is the installation {manifest.installation} as of {manifest.created_at}: "
        f"{', '.join(contents(manifest))}."
    )
    if told["open_operations"]:
        display.say(
            f"{told['open_operations']} operation(s) were under way when it was saved: they go on from what they find, "
            "unless you cancel them."
        )
    display.say(
        "Start it with ./portal up. What has changed on the hosts since then is put right, or waits for your choice "
        "under Findings. People have to sign in again."
    )
