"""A backup's file: a gzipped tar, its manifest first, that names every other member with its size and checksum."""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vmportal.launcher.errors import PortalError

FORMAT = "vmportal-backup"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 4 * 1024 * 1024
#: What a backup may hold, as paths in an installation's directory. Nothing else is ever written by a restore.
MEMBER = re.compile(r"installation|env|database\.(sqlite3|dump)|(secrets|images)/[A-Za-z0-9_][A-Za-z0-9._+-]*")
CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        version: of vmportal.
        created_at: ISO 8601, UTC; the database is as of a moment after it.
        engine: "sqlite" or "postgresql".
        migrations: the names that the database had applied, by application.
        files: by member its `bytes` and `sha256`.
    """

    version: str
    created_at: str
    installation: str
    engine: str
    migrations: dict[str, list[str]]
    images: bool
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def database(self) -> str:
        """The member that holds the database."""
        return next(name for name in self.files if name.startswith("database."))


def checksum(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(target: Path, manifest: Manifest, sources: dict[str, Path]) -> Manifest:
    """Write `sources` (by member) to `target`, readable by its owner alone; it is there whole, or not at all.

    Returns the manifest with its files. Raises PortalError when it cannot be written.
    """
    files = {name: {"bytes": path.stat().st_size, "sha256": checksum(path)} for name, path in sources.items()}
    complete = Manifest(**{**asdict(manifest), "files": files})
    head = {"format": FORMAT, "formatVersion": FORMAT_VERSION, **asdict(complete)}
    partial = target.with_name(f".{target.name}.partial")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6) as tar:
            text = json.dumps(head, indent=1).encode()
            info = tarfile.TarInfo(MANIFEST)
            info.size, info.mode = len(text), 0o600
            tar.addfile(info, io.BytesIO(text))
            for name, path in sources.items():
                _add(tar, name, path)
        _flush(partial)
        partial.rename(target)
    except OSError as error:
        raise PortalError(f"{target} could not be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return complete


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = path.stat().st_size, 0o600, int(path.stat().st_mtime)
    with path.open("rb") as file:
        tar.addfile(info, file)


def _flush(path: Path) -> None:
    """On the disk before it gets its name: a power cut leaves no half backup under it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """The archive as a stream. Raises PortalError for what cannot be read or is damaged."""
    try:
        with tarfile.open(path, mode="r|gz") as tar:
            yield tar
    except FileNotFoundError as error:
        raise PortalError(f"{path} does not exist.") from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise PortalError(f"{path} is no backup of vmportal, or is damaged: {error}. Take another one.") from error
    except OSError as error:
        raise PortalError(f"{path} cannot be read: {error.strerror}.") from error


def read_manifest(path: Path) -> Manifest:
    """What the backup says of itself. Raises PortalError when it is none, or of a format that we do not know."""
    with _opened(path) as tar:
        return _manifest(tar, path)


def _manifest(tar: tarfile.TarFile, path: Path) -> Manifest:
    first = tar.next()
    if first is None or first.name != MANIFEST or first.size > MANIFEST_BYTES_MAX:
        raise PortalError(f"{path} is no backup of vmportal: it does not begin with a manifest.")
    try:
        head = json.loads((tar.extractfile(first) or io.BytesIO()).read())
        found, number = head.pop("format"), head.pop("formatVersion")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise PortalError(f"{path} is no backup of vmportal: its manifest cannot be read.") from error
    if found != FORMAT:
        raise PortalError(f"{path} is no backup of vmportal, but {found!r}.")
    if number != FORMAT_VERSION:
        raise PortalError(
            f"{path} was written by vmportal {head.get('version')} in format {number}; this one reads format "
            f"{FORMAT_VERSION}. Restore it with that version."
        )
    return _checked(head, path)


def _checked(head: dict[str, Any], path: Path) -> Manifest:
    try:
        manifest = Manifest(**head)
        names = set(manifest.files)
        if not all({"bytes", "sha256"} <= set(entry) for entry in manifest.files.values()):
            raise TypeError("a member without its size or checksum")
    except (TypeError, AttributeError) as error:
        raise PortalError(f"{path} is damaged: its manifest is not complete.") from error
    if odd := sorted(name for name in names if not MEMBER.fullmatch(name)):
        raise PortalError(f"{path} is no backup of vmportal: it holds {odd[0]!r}.")
    if "installation" not in names or sum(name.startswith("database.") for name in names) != 1:
        raise PortalError(f"{path} is damaged: its manifest names no installation, or not one database.")
    return manifest


def unpack(path: Path, into: Path | None) -> Manifest:
    """Check every member, and write them below `into` (None: only check); what it says of itself.

    Raises PortalError for the first member that is missing, unknown, or not as the manifest has it.
    """
    with _opened(path) as tar:
        manifest = _manifest(tar, path)
        missing = dict(manifest.files)
        while member := tar.next():
            expected = missing.pop(member.name, None)
            if expected is None or not member.isreg():
                raise PortalError(f"{path} is damaged: {member.name!r} is not in its manifest.")
            found = _copy(tar, member, into)
            if found != (expected["bytes"], expected["sha256"]):
                raise PortalError(f"{path} is damaged: {member.name} is not what was saved. Take another backup.")
    if missing:
        raise PortalError(f"{path} is damaged: {', '.join(sorted(missing))} is missing. Take another backup.")
    return manifest


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path | None) -> tuple[int, str]:
    """The member's size and checksum; written below `into`, readable by its owner alone."""
    source, digest, size = tar.extractfile(member), hashlib.sha256(), 0
    target = Path(os.devnull)
    if into is not None:
        target = into / member.name
        target.parent.mkdir(mode=0o700, exist_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        while source and (chunk := source.read(CHUNK)):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
    return size, digest.hexdigest()
