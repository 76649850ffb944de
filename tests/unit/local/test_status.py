from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import struct
import termios
from typing import Any

import pytest

from millrace.local.status import StatusLine, fitted, line

FULL: dict[str, Any] = {
    "rate": 10_003.2,
    "lag_ms": 41.7,
    "latency_ms": {"visible": {"p50": 38.0, "p99": 120.4}, "durable": {"p50": 140.0, "p99": 320.0}},
    "stored": 123_456_789,
    "rejected": 12,
    "disk": {"used_bytes": 1_234_567_890, "hours_left": 18.4},
}


def test_the_line_shows_rate_lag_latency_stored_rejected_and_disk() -> None:
    assert line(FULL) == (
        "10.0k/s · lag 42 ms · visible p50 38 ms p99 120 ms · durable p99 320 ms · stored 123.5M · "
        "rejected 12"
        " · disk 1.2 GB, 18 h left"
    )


def test_on_a_narrow_terminal_it_is_said_in_short_and_never_wrapped() -> None:
    assert fitted(FULL, 200) == line(FULL)
    short = fitted(FULL, 79)
    assert short == "10.0k/s, lag 42 ms, visible 38/120 ms, stored 123.5M, rejected 12, 1.2 GB, 18 h"
    assert len(fitted(FULL | CLOSED, 40)) == 40
    assert fitted({}, 79) == "waiting for figures …"


class Terminal:
    """The other side of a terminal of so many columns."""

    def __init__(self, columns: int) -> None:
        self.seen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.out = os.fdopen(inside, "w")

    def shown(self) -> str:
        """Everything, once the program has ended. It comes in pieces: one read may find half of it."""
        self.out.close()
        pieces = []
        with contextlib.suppress(OSError):  # how Linux says that nobody writes any more
            while piece := os.read(self.seen, 4_096):
                pieces.append(piece)
        return b"".join(pieces).decode()


def test_on_a_terminal_each_line_replaces_the_one_before_it() -> None:
    terminal = Terminal(80)
    status = StatusLine(terminal.out)
    for second in range(3):
        status.show(FULL, float(second))
    shown = terminal.shown().split("\r\x1b[K")
    assert len(shown) == 4
    assert all(0 < len(text) < 80 for text in shown[1:])


def test_a_long_time_is_said_in_seconds() -> None:
    assert "lag 33 s " in line(FULL | {"lag_ms": 32_708.0})


@pytest.mark.parametrize("missing", list(FULL))
def test_a_figure_that_is_not_known_yet_is_a_dash(missing: str) -> None:
    told = {name: value for name, value in FULL.items() if name != missing}
    assert "–" in line(told)
    assert "–" in line(FULL | {missing: None})


CLOSED = {"ingest_closed": {"reason": "disk_nearly_full", "detail": "the data folder holds 2.15 GB"}}


def test_a_door_that_lets_nobody_in_is_said_with_its_reason_and_when_it_opens() -> None:
    out = io.StringIO()
    status = StatusLine(out)
    for second, more in enumerate(({}, CLOSED, CLOSED, {}, {"ingest_closed": None}), start=100):
        status.show(FULL | more, float(second * 10))
    said = [text for text in out.getvalue().splitlines() if "/s ·" not in text]
    assert said == ["ingest has stopped: the data folder holds 2.15 GB", "ingest goes on"]
    assert line(FULL | CLOSED).endswith("18 h left · ingest stopped (disk_nearly_full)")


def test_before_the_first_answer_the_line_says_so() -> None:
    assert "waiting" in line({})


def test_off_a_terminal_the_line_comes_now_and_then() -> None:
    out = io.StringIO()
    status = StatusLine(out)
    for second in range(21):
        status.show(FULL, float(second))
    assert len(out.getvalue().splitlines()) == 3
    assert "\x1b" not in out.getvalue()
