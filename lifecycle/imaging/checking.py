"""Looking into a file that a stranger made, and converting it: `qemu-img` under limits, after our own look.

The file's first bytes are judged before any tool opens it (`lifecycle.domain.imports`), the format is always said and
never guessed, and `prlimit` (util-linux) bounds what qemu-img may take: memory, CPU time, the size of what it writes.
"""

import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lifecycle.domain.errors import InvalidInput, StepFailed
from lifecycle.domain.imports import HEAD_BYTES, Limits, check_head, check_info, format_of

MEMORY_BYTES: Final = 2 * 2**30
INFO_SECONDS: Final = 30
WORK_SECONDS: Final = 3600
_CHUNK_BYTES: Final = 1024 * 1024
_LOOK_SECONDS: Final = 0.5

#: Told while something goes on: bytes so far, bytes in all. May raise to stop.
Told = Callable[[int, int], None]


def sha256_of(path: Path, told: Told) -> str:
    """The file's checksum, read in chunks."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            told(done, total)
    return digest.hexdigest()


def check_file(path: Path, limits: Limits, told: Told) -> tuple[str, int]:
    """Judge the file; returns its format and the size of its disk in bytes.

    Raises:
        InvalidInput: it is refused. StepFailed: qemu-img could not be run.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    size = path.stat().st_size
    kind = format_of(head, size)
    check_head(kind, head, size, limits)
    if kind == "iso":
        return kind, size
    disk_bytes = check_info(_info(path, kind), kind, str(path), limits)
    if kind != "raw":  # the others keep books that can be checked
        code, output = _run(["check", "-q", "-f", kind, str(path)], 0, lambda: told(0, size))
        if code == 2 or (code and "leaked" not in output):
            raise InvalidInput("The image is damaged or not complete: %(why)s", why=_last_line(output))
    return kind, disk_bytes


def convert(path: Path, kind: str, into: Path, limits: Limits, disk_bytes: int, told: Told) -> None:
    """Write the disk of `path` to `into` as qcow2 that stands alone; what is empty takes no space.

    Raises:
        InvalidInput: it cannot be read to its end, or is larger than it may be.
    """
    into.unlink(missing_ok=True)
    argv = ["convert", "-f", kind, "-O", "qcow2", "-S", "64k", str(path), str(into)]
    code, output = _run(argv, limits.file_bytes, lambda: told(_written(into), max(disk_bytes, 1)))
    if code:
        if _written(into) >= limits.file_bytes - 2 * _CHUNK_BYTES:
            raise InvalidInput(
                "Unpacked, the image takes more than %(most)s GiB.", most=round(limits.file_bytes / 2**30, 1)
            )
        raise InvalidInput("The image cannot be read to its end: %(why)s", why=_last_line(output))


def _info(path: Path, kind: str) -> dict[str, Any]:
    code, output = _run(["info", "--output=json", "-f", kind, str(path)], 0, lambda: None, seconds=INFO_SECONDS)
    try:
        info = json.loads(output) if code == 0 else None
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise InvalidInput("The image cannot be read: %(why)s", why=_last_line(output))
    return info


def _run(argv: list[str], file_bytes: int, look: Callable[[], None], seconds: int = WORK_SECONDS) -> tuple[int, str]:
    """Run qemu-img under limits; `look` is called while it runs and may raise to end it. Exit status and output."""
    limits = [f"--as={MEMORY_BYTES}", f"--cpu={seconds}", f"--fsize={file_bytes}", "--core=0", "--nofile=64"]
    try:
        process = subprocess.Popen(
            ["prlimit", *limits, "--", "qemu-img", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise StepFailed("A program that checks images is missing on this site.", detail=str(error)) from error
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                look()
                if time.monotonic() > deadline:
                    raise InvalidInput("Reading the image takes too long: it is refused.") from None
            else:
                return process.returncode, output
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _written(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_line(output: str) -> str:
    """What qemu-img said, without the path of the file on this machine."""
    line = next((line for line in reversed(output.strip().splitlines()) if line), "")
    return line.rsplit("': ", 1)[-1].removeprefix("qemu-img: ")[:200]
