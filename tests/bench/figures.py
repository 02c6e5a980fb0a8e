"""Samples, their medians, and the table they end in."""

import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ours` and `floor` are samples in milliseconds; a row may have no floor."""

    what: str
    ours: Sequence[float]
    floor: Sequence[float] = ()
    floor_is: str = ""
    note: str = ""

    def cells(self) -> list[str]:
        """The line as the table shows it."""
        ratio = f"{median(self.ours) / median(self.floor):.2f}" if self.floor else ""
        return [self.what, spread(self.ours), self.floor_is, spread(self.floor) if self.floor else "", ratio, self.note]


def median(samples: Sequence[float]) -> float:
    """The median."""
    return statistics.median(samples)


def spread(samples: Sequence[float]) -> str:
    """Median with minimum and maximum, in ms."""
    if len(samples) == 1:
        return f"{samples[0]:.1f}"
    return f"{median(samples):.1f} ({min(samples):.1f}–{max(samples):.1f}, n={len(samples)})"


def timed(work: Callable[[], object]) -> float:
    """How long `work` takes, in ms."""
    start = perf_counter()
    work()
    return (perf_counter() - start) * 1000


def machine() -> str:
    """What it ran on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((x.split(":", 1)[1].strip() for x in info.splitlines() if x.startswith("model name")), "unknown CPU")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    cpus = info.count("processor\t")
    return f"{cpus} × {model}, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    head = ["What", "Product, ms", "Floor", "Floor, ms", "Ratio", "Note"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
