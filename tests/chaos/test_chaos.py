"""A short run of chaos: what a long one shows in small. `./portal chaos` is the long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from tests.stack import CHECKOUT

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a host of its own in namespaces"),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="has a database of its own: once is enough"),
]


def chaos(folder: Path, *words: str) -> tuple[int, str]:
    """Run it as the launcher does; its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--report", str(folder), *words],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1750,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_minute_of_chaos_leaves_nothing_wrong(tmp_path: Path) -> None:
    status, said = chaos(tmp_path, "--minutes", "1", "--seed", "7")
    assert status == 0, said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["violations"] == []
    assert sum(row["counted"] for row in report["rows"]) >= 5, said
    assert all(row["survived"] == row["counted"] for row in report["rows"]), said
    faults = [entry for entry in report["timeline"] if entry["what"] == "fault"]
    assert len(faults) == sum(row["injected"] for row in report["rows"])
    assert "| worker-kill |" in (tmp_path / "report.md").read_text()
