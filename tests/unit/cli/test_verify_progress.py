"""`millrace verify` shows how far it is on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

SCRIPT = """
import sys, time
from millrace.cli.verify import _progress
with _progress(quiet=sys.argv[1] == "quiet") as tell:
    for done in range(3):
        tell("archive", done, 2)
        tell("rollup_1m", done, 2)
        time.sleep(0.15)
print("equal")
"""


def shown(how: str, *, terminal: bool) -> tuple[str, str]:
    """(stdout, stderr) of a recount that tells, stderr being a terminal or a pipe."""
    ours, theirs = pty.openpty() if terminal else os.pipe()  # both: the end to read, the end to write
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environ,
        check=True,
        timeout=60,
    )
    os.close(theirs)
    try:
        said = os.read(ours, 1 << 16)
    except OSError:  # a terminal that nobody wrote to
        said = b""
    os.close(ours)
    return done.stdout.decode(), said.decode()


def test_a_terminal_sees_each_store_counted_and_keeps_only_the_answer() -> None:
    out, seen = shown("loud", terminal=True)
    assert out == "equal\n"
    assert "archive" in seen
    assert "rollup_1m" in seen
    assert "2/2" in seen


@pytest.mark.parametrize(("how", "terminal"), [("quiet", True), ("loud", False)], ids=["json", "pipe"])
def test_a_script_sees_no_bars(how: str, terminal: bool) -> None:
    _, seen = shown(how, terminal=terminal)
    assert "archive" not in seen
