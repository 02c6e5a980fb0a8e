"""Runs a recipe's script and puts a checked image into the store.

A file in the store is complete or not there: the script writes into a temporary directory inside the store, the result
is checked, and one rename publishes it as `<name>-<start of its SHA-256>.qcow2`. One build at a time per store.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Final

from lifecycle.imaging.catalog import BuildRecipe

SCRIPTS: Final = Path(__file__).parent / "scripts"
# A whole Debian takes one to two minutes; a mirror that hangs must not hold the store's lock for ever.
BUILD_SECONDS: Final = 3600
_EXIT_MISSING_TOOLS: Final = 3
_LINES_KEPT: Final = 15
_SECONDS_TO_END: Final = 15
_WORK_PREFIX: Final = ".building-"


class ImagingError(Exception):
    """An image could not be built; the text says why, with the last lines of the script."""


class MissingTools(ImagingError):
    """Programs are missing on this machine; the text names the packages and the command that installs them."""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """A checked image file in the store. Sizes in bytes; `sha256` in hexadecimal."""

    path: Path
    format: str
    size_bytes: int
    virtual_size_bytes: int
    sha256: str
    architecture: str


def build(recipe: BuildRecipe, store: Path, cache: Path, progress: Callable[[str], None]) -> BuiltImage:
    """Build `recipe` into `store`. Downloads are kept in `cache`; each line the script prints goes to `progress`.

    Raises MissingTools, or ImagingError when the script fails, takes too long, or its file is no sound image.
    """
    store.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    with _store_lock(store, progress), _work_directory(store) as work:
        made = work / "image.qcow2"
        scratch = work / "scratch"
        scratch.mkdir()
        _run_script(recipe, made, scratch, cache, progress)
        shutil.rmtree(scratch)
        return _publish(recipe, made, store)


def find_built(recipe: BuildRecipe, store: Path) -> BuiltImage | None:
    """The newest file of `recipe` in `store` that is whole (its checksum is in its name), or None."""
    files = sorted(store.glob(f"{recipe.name}-{'[0-9a-f]' * 12}.qcow2"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in files:
        sha256 = _sha256(path)
        if path.stem == f"{recipe.name}-{sha256[:12]}":
            return inspect(path, recipe.architecture, sha256)
    return None


def inspect(path: Path, architecture: str, sha256: str | None = None) -> BuiltImage:
    """Check that `path` is a sound, standalone qcow2 and measure it. Raises ImagingError."""
    _qemu_img("check", "-q", "-f", "qcow2", str(path))
    info = json.loads(_qemu_img("info", "--output=json", "-f", "qcow2", str(path)))
    if info["format"] != "qcow2" or "backing-filename" in info:
        raise ImagingError(f"{path.name} is not a standalone qcow2 image")
    return BuiltImage(
        path=path,
        format="qcow2",
        size_bytes=path.stat().st_size,
        virtual_size_bytes=int(info["virtual-size"]),
        sha256=sha256 or _sha256(path),
        architecture=architecture,
    )


@contextmanager
def _store_lock(store: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the store's lock; it goes with the process, however that ends."""
    with (store / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Waiting for another build in this store")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _work_directory(store: Path) -> Iterator[Path]:
    """A directory inside the store (a rename within one file system is atomic); called with the lock held."""
    for left_behind in store.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(left_behind)
    with tempfile.TemporaryDirectory(prefix=_WORK_PREFIX, dir=store) as name:
        yield Path(name)


def _run_script(recipe: BuildRecipe, out: Path, scratch: Path, cache: Path, progress: Callable[[str], None]) -> None:
    command = ["bash", str(SCRIPTS / recipe.script), str(out), str(cache.resolve())]
    process = subprocess.Popen(
        command,
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    deadline = Timer(BUILD_SECONDS, _end_group, [process])
    deadline.start()
    try:
        lines = _stream(process, progress)
        code = process.wait()
    finally:  # an interrupted build, or one whose progress could not be told, ends with us
        deadline.cancel()
        _end_group(process)
    if code:
        raise _failure(recipe, code, lines)


def _stream(process: subprocess.Popen[str], progress: Callable[[str], None]) -> list[str]:
    """Pass the lines on as they come; return the last few."""
    assert process.stdout is not None  # noqa: S101 - by PIPE above
    last: deque[str] = deque(maxlen=_LINES_KEPT)
    for line in process.stdout:
        last.append(line.rstrip())
        progress(last[-1])
    return list(last)


def _end_group(process: subprocess.Popen[str]) -> None:
    """End the script and its children: asked first, since mmdebstrap has mounts to undo."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SECONDS_TO_END)


def _failure(recipe: BuildRecipe, code: int, lines: list[str]) -> ImagingError:
    if code == _EXIT_MISSING_TOOLS:
        return MissingTools("\n".join(line.removeprefix("error: ") for line in lines if line.startswith("error: ")))
    why = f"took longer than {BUILD_SECONDS} s or was killed" if code < 0 else f"failed with exit status {code}"
    return ImagingError("\n".join([f"The build of {recipe.name} {why}:", *lines]))


def _publish(recipe: BuildRecipe, made: Path, store: Path) -> BuiltImage:
    """Check the file, make it read-only and durable, and give it its name."""
    image = inspect(made, recipe.architecture)
    path = store / f"{recipe.name}-{image.sha256[:12]}.qcow2"
    made.chmod(0o444)
    with made.open("rb") as written:
        os.fsync(written.fileno())
    made.replace(path)
    directory = os.open(store, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return BuiltImage(path, image.format, image.size_bytes, image.virtual_size_bytes, image.sha256, image.architecture)


def _qemu_img(*arguments: str) -> str:
    try:
        done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MissingTools("missing on this machine: qemu-utils") from error
    if done.returncode:
        raise ImagingError(f"qemu-img {arguments[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
