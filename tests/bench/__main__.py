"""`./portal bench [--rounds N] [--loaded N] [--write]`: run all benchmarks against an installation of their own."""

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.figures import Row, machine, table
from tests.ending import end_by_interrupt
from tests.stack import CHECKOUT, Stack, running_stack

DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `./portal bench --write`. Times are milliseconds: median (minimum–maximum). A floor is measured in the same run,
in turns with the product; only ratios compare between machines.
"""
NOTES = """
## What the rows mean

- create, start, stop: from the request received to the new state committed, against plain libvirt calls on a twin of
  the same guest.
- consoles: through the site's websocket, web process, relay and gateway, in turns with the socket or stream they read
  from.
- API: a call that is answered is also written to the audit log, which is a transaction; the bare view sends the same
  bytes and has no database, no rights and no middleware.
- rating: every line of every bill, with dated prices and the documented rounding, against one `SUM` in floating point;
  both sums agree.
- memory: the proportional share (PSS) of each process with its children.
"""


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


def memory(stack: Stack) -> Row:
    """Proportional set size of all processes, Redis included, in MiB (stands in the note)."""
    sizes = {name: pss_mib(process.pid) for name, process in stack.running.items()}
    note = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
    return Row("memory of all processes, MiB", [sum(sizes.values())], note=note)


def pss_mib(pid: int) -> float:
    """What a process and its children really cost."""
    total = 0.0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total = int(line.split()[1]) / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total + sum(pss_mib(int(child)) for child in children)


def measure(stack: Stack, rounds: int, loaded: int, billed: int, only: str = "") -> list[Row]:
    """All rows, or those of one part."""
    os.environ.update(stack.environment)
    os.environ["DJANGO_SETTINGS_MODULE"] = "vmportal.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.test import Client

    from lifecycle.models import Project, User
    from tests.bench import api, billing, consoles, guests, pages, push

    user = User.objects.get(username="admin")
    User.objects.filter(pk=user.pk).update(must_change_password=False)
    if only == "billing":
        return billing.run(user, billed, 3, say)
    client = Client()
    client.force_login(user)
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    project = Project.objects.get(slug="default")
    if only == "consoles":
        return consoles.run(stack, project, user, cookie, rounds, say)
    rows = guests.run(project, user, rounds, say)
    rows += push.run(stack, project, user, cookie, rounds, say)
    rows += consoles.run(stack, project, user, cookie, rounds, say)
    rows.append(memory(stack))
    rows += pages.lists(stack, user, cookie, 30, say)
    rows += api.run(stack, user, 400, say)
    rows += billing.run(user, billed, 3, say)
    if loaded:
        rows += pages.under_load(stack, project, user, cookie, loaded, say)
    return rows


def main() -> int:
    """Measure, print, and write the document when asked to."""
    parser = argparse.ArgumentParser(prog="portal bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of each guest benchmark")
    parser.add_argument("--loaded", type=int, default=50, help="starts queued while pages are read (0: none)")
    parser.add_argument("--billed", type=int, default=10_000, help="VMs whose month is rated")
    parser.add_argument("--only", choices=["billing", "consoles"], default="", help="one part alone, printed")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.relative_to(CHECKOUT)}")
    chosen = parser.parse_args()
    end_by_interrupt()
    processes = ("web",) if chosen.only == "billing" else ("web", "gateway", "worker", "beat", "watcher")
    with (
        tempfile.TemporaryDirectory(prefix="vmportal-bench-") as folder,
        running_stack(Path(folder), processes=processes, extra={"VMPORTAL_API_CALLS_PER_MINUTE": "1000000"}) as stack,
    ):
        rows = measure(stack, chosen.rounds, chosen.loaded, chosen.billed, chosen.only)
    made_on = f"- Machine: {machine()}\n- Date: {datetime.now(UTC):%Y-%m-%d}"
    text = f"{HEAD}\n{made_on}\n\n{table(rows)}{NOTES}"
    print(text)
    if chosen.write and not chosen.only:
        DOCUMENT.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
