"""`millrace verify` shows how far it is on a terminal, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator

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
    said: list[bytes] = []
    reader = threading.Thread(
        target=lambda: said.extend(pieces(ours))
    )  # a terminal holds little that is not read
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE, stderr=theirs, env=environ
    ) as process:
        os.close(theirs)
        reader.start()
        out, _ = process.communicate(timeout=120)
    reader.join(60)
    os.close(ours)
    assert process.returncode == 0
    return out.decode(), b"".join(said).decode()


def pieces(end: int) -> Iterator[bytes]:
    """What comes, until nobody can write any more."""
    with contextlib.suppress(OSError):  # how a terminal says so
        while piece := os.read(end, 1 << 16):
            yield piece


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
