"""`./portal chaos [--minutes N] [--seed S]`: break an installation of its own at random, and look what is left.

Real processes, a real libvirtd with real QEMUs in namespaces of their own, people who use it. Exits with 1 when
anything is wrong at the end.
"""

import argparse
import contextlib
import os
import random
import secrets
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.site import Site
from tests.ending import end_by_interrupt
from tests.stack import CHECKOUT

#: How long everything may take to become quiet, and then to agree; much longer than it does on a machine of two cores.
QUIET_SECONDS = 600.0
AGREE_SECONDS = 180.0


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    """What may be chosen."""
    parser = argparse.ArgumentParser(prog="portal chaos", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults are injected (default 5)")
    parser.add_argument("--seed", type=int, default=None, help="of all that is left to chance (default: a new one)")
    parser.add_argument("--rate", type=float, default=20.0, help="faults a minute, about (default 20)")
    parser.add_argument("--database", default="", metavar="URL", help="an empty database (default: SQLite of its own)")
    parser.add_argument("--report", type=Path, metavar="DIR", help="where the report goes (default: var/chaos/…)")
    parser.add_argument("--without", default="", help="protections to switch off: fencing,leases,undo")
    parser.add_argument("--least", type=int, default=0, help="fail with fewer counted faults of any kind")
    return parser.parse_args()


def main() -> int:
    """Run; 0 when nothing was wrong."""
    if os.geteuid():
        say("chaos needs root: it makes a host of its own in namespaces.")
        return 2
    end_by_interrupt()
    chosen = options()
    seed = secrets.randbelow(10**6) if chosen.seed is None else chosen.seed
    var = Path(os.environ.get("VMPORTAL_VAR") or CHECKOUT / "var")
    folder = chosen.report or var / "chaos" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{seed}"
    extra = {"VMPORTAL_UNSAFE_TEST_SWITCHES": chosen.without, "DEBUG": "true"} if chosen.without else {}
    with tempfile.TemporaryDirectory(prefix="vmportal-chaos-") as root:
        Path(root).chmod(0o755)
        site = Site(Path(root), database_url=chosen.database, extra=extra)
        try:
            site.prepare()
            wrong = run(site, seed, chosen.minutes, chosen.rate, chosen.least, folder)
        finally:
            site.stop()
            keep_logs(site, folder)
    return 1 if wrong else 0


def run(site: Site, seed: int, minutes: float, rate: float, least: int, folder: Path) -> bool:
    """Load and faults for so long, then quiet, then the checks. Whether anything was wrong."""
    os.environ.update(site.environment)
    os.environ["DJANGO_SETTINGS_MODULE"] = "vmportal.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection

    from tests.chaos.faults import Faults
    from tests.chaos.load import Load, wait_for_work
    from tests.chaos.report import Report, operations_of, rows_of
    from tests.chaos.timeline import Timeline

    settings.DEBUG = False  # queries are not to be remembered here
    site.people()
    site.start(*site.processes)
    site.tend()
    site.wait_for_all()
    timeline, begin_wall = Timeline(), time.time()
    load, faults = Load(site, timeline, seed), Faults(site, timeline, random.Random(seed))
    say(f"chaos: seed {seed}, {minutes:g} minutes, logs in {site.root / 'log'}")
    load.begin()
    wait_for_work()
    inject(faults, minutes, rate, seed)
    say("no more faults; waiting for quiet")
    faults.thaw_due(all_of_them=True)  # first: who is frozen may hold a lock that the load waits for
    load.end()
    site.wait_for_all()
    quiet_after, wrong = settle(site, timeline)
    wrong += [f"{entry.kind}: {entry.detail['text']}" for entry in timeline.of("wrong")]
    rows = rows_of(timeline, begin_wall)
    wrong += [f"too few: {row.kind} counted {row.counted} of {least}" for row in rows if row.counted < least]
    done = {**operations_of(), "starts that libvirtd forgot, cleared by an operator": len(site.operator.cleared)}
    report = Report(
        seed, minutes, connection.vendor, rows, done, dict(load.answers), quiet_after, wrong, timeline.as_rows(),
    )  # fmt: skip
    report.write(folder)
    print(report.text())
    say(f"report: {folder}")
    return bool(wrong)


def inject(faults: object, minutes: float, rate: float, seed: int) -> None:
    """Faults at random moments, `rate` a minute."""
    from tests.chaos.faults import Faults

    assert isinstance(faults, Faults)
    chance = random.Random(f"{seed}-pauses")
    end = time.monotonic() + minutes * 60
    told = time.monotonic()
    due = time.monotonic()
    while (now := time.monotonic()) < end:
        due = max(due, now - 10.0)  # what was missed while a fault took long is not all made up for
        faults.thaw_due()
        if now >= due:
            faults.one()
            due += chance.expovariate(rate / 60)
        time.sleep(0.02)
        if now - told > 60:
            told = now
            say(f"  {sum(faults.counted.values())} counted: {faults.counted}")


def settle(site: Site, timeline: object) -> tuple[float, list[str]]:
    """Wait until nothing is under way and everything agrees: after how many seconds, and what is wrong."""
    from tests.chaos.invariants import unquiet, violations

    begin = time.monotonic()
    while unquiet() and time.monotonic() - begin < QUIET_SECONDS:
        time.sleep(0.5)
    quiet_after = time.monotonic() - begin
    agreed = time.monotonic()
    while (wrong := violations(site)) and time.monotonic() - agreed < AGREE_SECONDS:
        time.sleep(1.0)
    return quiet_after, wrong


def keep_logs(site: Site, folder: Path) -> None:
    """The processes' logs, beside the report."""
    target = folder / "logs"
    with contextlib.suppress(OSError):
        target.mkdir(parents=True, exist_ok=True)
        for log in (site.root / "log").glob("*.log"):
            (target / log.name).write_bytes(log.read_bytes())


if __name__ == "__main__":
    raise SystemExit(main())
