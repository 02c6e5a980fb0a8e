"""What a run showed: by kind of fault, in words and as JSON."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle.models import Operation
from tests.chaos.faults import KINDS
from tests.chaos.timeline import Timeline

#: Errors that come from libvirt or QEMU, and not from what people did.
_HOSTS_OWN = frozenset({"HOST_REFUSED", "HOST_INTERNAL_ERROR"})


@dataclass
class Row:
    """One kind of fault. `longest`: seconds from a fault to the end of an operation that it met."""

    kind: str
    injected: int = 0
    counted: int = 0
    survived: int = 0
    operations: int = 0
    recovered: int = 0
    longest: float = 0.0


@dataclass
class Report:
    """All of a run."""

    seed: int
    minutes: float
    database: str
    rows: list[Row]
    operations: dict[str, Any]
    answers: dict[str, int]
    quiet_after: float
    violations: list[str]
    timeline: list[dict[str, Any]] = field(repr=False, default_factory=list)

    @property
    def counted(self) -> int:
        """Faults that met an operation."""
        return sum(row.counted for row in self.rows)

    def text(self) -> str:
        """For people: Markdown."""
        begin = f"seed {self.seed}, {self.minutes:g} minutes, {self.database}"
        lines = [
            f"{begin}: {self.counted} faults counted, {len(self.violations)} violations",
            "",
            "| fault | injected | counted | survived | operations met | recovered after worker loss | longest, s |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *(
                f"| {r.kind} | {r.injected} | {r.counted} | {r.survived} | {r.operations} | {r.recovered} "
                f"| {r.longest:.1f} |"
                for r in self.rows
            ),
            "",
            *(f"- {name}: {value}" for name, value in self.operations.items()),
            f"- quiet {self.quiet_after:.0f} s after the last fault",
            f"- answers to requests: {', '.join(f'{k} {v}' for k, v in sorted(self.answers.items()))}",
            "",
            *(f"VIOLATION {line}" for line in self.violations),
        ]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, folder: Path) -> None:
        """`report.md`, and `report.json` with the timeline."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(self.text())
        values = {**self.__dict__, "rows": [row.__dict__ for row in self.rows]}
        (folder / "report.json").write_text(json.dumps(values, indent=1, default=str))


def rows_of(timeline: Timeline, begin_wall: float) -> list[Row]:
    """By kind of fault: what became of the operations that were in flight."""
    rows = {kind: Row(kind) for kind in KINDS}
    for fault in timeline.of("fault"):
        row = rows[fault.kind]
        row.injected += 1
        if not fault.detail["counts"]:
            continue
        row.counted += 1
        met = list(Operation.objects.filter(pk__in=fault.detail["operations"]))
        ended = [operation for operation in met if operation.end_time is not None]
        row.operations += len(met)
        row.survived += len(ended) == len(met)
        row.recovered += sum(1 for operation in met if operation.recovered)
        ends = [operation.end_time.timestamp() - begin_wall - fault.at for operation in ended if operation.end_time]
        row.longest = max([row.longest, *ends])
    return list(rows.values())


def operations_of() -> dict[str, Any]:
    """What was done, and how long the slowest took."""
    every = list(Operation.objects.all())
    errors = Counter(str(o.error.get("code")) for o in every if o.error)
    reasons = Counter(reason for o in every if o.error for reason in (o.error.get("reasons") or {}).values())
    refusals = Counter(_what(o.error) for o in every if o.error and str(o.error.get("code")) in _HOSTS_OWN)
    slowest = max((o for o in every if o.end_time), key=_seconds, default=None)
    return {
        "operations done": sum(o.is_done for o in every),
        "of these well": sum(o.is_done and not o.error for o in every),
        "by action": ", ".join(f"{k} {v}" for k, v in sorted(Counter(o.action for o in every).items())),
        "ended with an error": ", ".join(f"{k} {v}" for k, v in sorted(errors.items())) or "none",
        "why no host had room": ", ".join(f"{k} {v}" for k, v in reasons.most_common(4)) or "none",
        "what the host said": "; ".join(f"{k} ({v})" for k, v in refusals.most_common(6)) or "nothing",
        "recovered after worker loss": sum(bool(o.recovered) for o in every),
        "longest time stuck": f"{_seconds(slowest):.1f} s ({slowest})" if slowest else "–",
    }


def _what(error: dict[str, Any]) -> str:
    """What it was, names and numbers of VMs left out so that equal ones count as one."""
    said = (error.get("params") or {}).get("detail") or error.get("message", "")
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|vmp-\S+", "…", str(said))[:160]


def _seconds(operation: Operation) -> float:
    return (operation.end_time - operation.insert_time).total_seconds() if operation.end_time else 0.0
