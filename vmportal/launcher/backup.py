"""`./portal backup [FILE]`: all that an installation needs to live on, in one file, while it runs."""

import os
import shutil
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from vmportal.launcher import archive, databases, packages
from vmportal.launcher.archive import Manifest
from vmportal.launcher.display import Display
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation

#: What speaks to PostgreSQL; installed when it is needed first.
CLIENT = "postgresql-client"


def backup(installation: Installation, target: Path | None, with_images: bool, display: Display) -> int:
    """Save the installation to `target` (a file, or a directory for one), by default in VAR/backups. Always 0.

    Raises PortalError, leaving nothing behind, when it cannot be done.
    """
    if not (installation.var / "installation").exists():
        raise PortalError(f"There is no installation in {installation.var}: nothing to save.")
    installation.prepare()
    file = chosen_file(installation, target)
    with installation.lock():
        manifest = save(installation, file, with_images, display)
    display.say(f"{file}  ({file.stat().st_size / 2**20:.1f} MiB)")
    display.say(
        f"It holds {', '.join(contents(manifest))}. Whoever can read it can act as this portal: keep it safe, and "
        "not on this machine alone."
    )
    return 0


def save(installation: Installation, file: Path, with_images: bool, display: Display) -> Manifest:
    """Copy, write and read again; the manifest of what was written."""
    settings = installation.environment()
    database = databases.of(database_url(installation, settings))
    need_client(database, display)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=installation.var) as staging:
        copy = Path(staging) / database.member
        created = datetime.now(UTC)
        with display.step("Copying the database"):
            migrations = database.copy(copy)
        sources = {database.member: copy, **_settings(installation), **(_images(settings) if with_images else {})}
        about = Manifest(
            version=version(),
            created_at=created.isoformat(timespec="seconds"),
            installation=installation.id(),
            engine=database.engine,
            migrations=migrations,
            images=with_images,
        )
        with display.step("Writing the backup"):
            manifest = archive.write(file, about, sources)
        with display.step("Reading it again"):
            archive.unpack(file, None)
    return manifest


def chosen_file(installation: Installation, target: Path | None) -> Path:
    """Where the backup goes. Raises PortalError where it cannot, or where there is a file already."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"vmportal-{installation.id()}-{stamp}.tar.gz"
    if target is None:
        directory = installation.var / "backups"
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory / name
    file = target / name if target.is_dir() else target
    if file.exists():
        raise PortalError(f"{file} exists already; choose another name.")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise PortalError(f"{file.parent} is no directory that can be written to.")
    return file.resolve()


def database_url(installation: Installation, settings: dict[str, str]) -> str:
    """As vmportal/settings.py has it."""
    return settings.get("DATABASE_URL") or f"sqlite:///{installation.var / 'db.sqlite3'}"


def image_store(var: Path, settings: dict[str, str]) -> Path:
    """As vmportal/settings.py has it."""
    return Path(settings.get("VMPORTAL_IMAGE_STORE") or var / "images")


def need_client(database: databases.Database, display: Display) -> None:
    """Install PostgreSQL's programs where they are needed and missing."""
    if database.engine == "postgresql" and not shutil.which("pg_dump"):
        with display.step(f"Installing {CLIENT}") as say:
            packages.install([CLIENT], say)


def _settings(installation: Installation) -> dict[str, Path]:
    """Identity, settings and keys, by member."""
    found = {"installation": installation.var / "installation", "env": installation.env_file}
    found |= {f"secrets/{path.name}": path for path in sorted(installation.secrets.iterdir()) if path.is_file()}
    return {name: path for name, path in found.items() if path.exists() and archive.MEMBER.fullmatch(name)}


def _images(settings: dict[str, str]) -> dict[str, Path]:
    """The built images, by member: files that are written once and never changed."""
    store = image_store(Path(settings["VMPORTAL_VAR"]), settings)
    return {f"images/{path.name}": path for path in sorted(store.glob("*.qcow2")) if path.is_file()}


def contents(manifest: Manifest) -> list[str]:
    """What a backup holds, in words."""
    images = sum(name.startswith("images/") for name in manifest.files)
    found = ["the database", "the keys" if any(name.startswith("secrets/") for name in manifest.files) else ""]
    found += ["the settings (env)" if "env" in manifest.files else "", "the installation's id"]
    found += [f"{images} image{'s' if images != 1 else ''}" if manifest.images else ""]
    return [each for each in found if each]


def version() -> str:
    """This checkout's version."""
    return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
