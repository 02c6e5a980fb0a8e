"""Programs that run on our terminal, and how they end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import CHECKOUT, wait_until
from vmportal.launcher import commands

#: Cleans up for a moment when it is interrupted, as pytest does; a shell in the background may have had SIGINT ignored.
CHILD = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
here = pathlib.Path(sys.argv[1])
try:
    here.joinpath("ready").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.6)
    here.joinpath("clean").touch()
"""
PARENT = """
import os, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from vmportal.launcher import commands
commands.end_by_exception()
try:
    commands.foreground([sys.executable, "-c", sys.argv[1], sys.argv[2]], os.environ, pathlib.Path.cwd())
except KeyboardInterrupt:
    sys.exit(130)
"""


#: Ends as our benchmarks do.
BENCHMARK = CHILD.replace(
    "signal.signal(signal.SIGINT, signal.default_int_handler)",
    "from tests.ending import end_by_interrupt; end_by_interrupt()",
)


def test_a_program_in_the_foreground_tells_its_status() -> None:
    words = [sys.executable, "-c", "import os, sys; sys.exit(int(os.environ['STATUS']))"]
    assert commands.foreground(words, {**os.environ, "STATUS": "7"}, Path.cwd()) == 7


@pytest.mark.parametrize(
    ("child", "number", "to_the_group"),
    [
        pytest.param(CHILD, signal.SIGTERM, False, id="SIGTERM to the launcher alone"),
        pytest.param(CHILD, signal.SIGINT, True, id="Ctrl-C, which reaches everybody"),
        pytest.param(BENCHMARK, signal.SIGTERM, False, id="SIGTERM to a benchmark's launcher alone"),
        pytest.param(BENCHMARK, signal.SIGTERM, True, id="SIGTERM to a benchmark and its launcher"),
        pytest.param(BENCHMARK, signal.SIGINT, True, id="Ctrl-C at a benchmark"),
    ],
)
def test_what_runs_in_the_foreground_cleans_up_when_it_has_to_end(
    child: str, number: signal.Signals, to_the_group: bool, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", PARENT, child, str(tmp_path)]
    parent = subprocess.Popen(words, cwd=CHECKOUT, process_group=0)
    try:
        wait_until((tmp_path / "ready").exists, 120, "the program")
        if to_the_group:
            os.killpg(parent.pid, number)
        else:
            parent.send_signal(number)
        assert parent.wait(120) == 130
        assert (tmp_path / "clean").exists()
    finally:
        parent.kill()
