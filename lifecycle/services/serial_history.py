"""The serial output that is kept: pieces in their order, of which the last make at least 1 MiB a VM."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from lifecycle.models import SerialChunk

#: Lines that a search tells at most.
FOUND_MAX: Final = 200


def append(vm_id: UUID, text: str, now: datetime) -> None:
    """Append to the last piece or begin new ones, and drop the oldest. Inside the caller's transaction."""
    last = SerialChunk.objects.filter(vm=vm_id).order_by("-id").first()
    if last is not None and text and len(last.text) < SerialChunk.CHARACTERS:
        room = SerialChunk.CHARACTERS - len(last.text)
        whole, text = last.text + text[:room], text[room:]
        SerialChunk.objects.filter(pk=last.pk).update(text=whole, size_bytes=len(whole.encode()), ended_at=now)
    while text:
        piece, text = text[: SerialChunk.CHARACTERS], text[SerialChunk.CHARACTERS :]
        SerialChunk.objects.create(vm_id=vm_id, text=piece, size_bytes=len(piece.encode()), began_at=now, ended_at=now)
    _drop_oldest(vm_id)


def _drop_oldest(vm_id: UUID) -> None:
    kept = 0
    for pk, size in SerialChunk.objects.filter(vm=vm_id).order_by("-id").values_list("pk", "size_bytes"):
        if kept >= SerialChunk.KEPT_BYTES:
            SerialChunk.objects.filter(vm=vm_id, pk__lte=pk).delete()
            return
        kept += size


def whole(vm_id: UUID) -> str:
    """All that is kept of the VM's output."""
    return "".join(SerialChunk.objects.filter(vm=vm_id).order_by("id").values_list("text", flat=True))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the kept output: its number there, and its text in three parts around what was looked for."""

    number: int
    before: str
    match: str
    after: str


def search(text: str, wanted: str) -> tuple[list[Line], int]:
    """The last FOUND_MAX lines of `text` that hold `wanted`, whatever its case, and how many there are."""
    folded = wanted.casefold()
    found = [(number, line) for number, line in enumerate(text.splitlines(), 1) if folded and folded in line.casefold()]
    return [_line(number, line, wanted) for number, line in found[-FOUND_MAX:]], len(found)


def _line(number: int, line: str, wanted: str) -> Line:
    start = line.lower().find(wanted.lower())
    if start < 0:  # casefolding changed its length: the line as a whole
        return Line(number, line, "", "")
    end = start + len(wanted)
    return Line(number, line[:start], line[start:end], line[end:])
