"""The one live line: rate, lag, latency, stored, rejected, disk and hours left, out of `GET /v1/stats`."""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from collections.abc import Mapping
from typing import Any, TextIO

from millrace import telemetry
from millrace.local.ready import DIRECTLY
from millrace.lossy_output import LossyOutput

POLL_S = 1.0
COLUMNS = 80  # of a terminal that does not say
PLAIN_LINE_S = 10.0  # where the output is no terminal: a line now and then instead of one that moves


class StatsPoller(threading.Thread):
    """Asks the API for its figures once a second; `latest` is {} while it does not answer."""

    def __init__(self, api_url: str, token: str) -> None:
        super().__init__(name="stats", daemon=True)
        self._request = urllib.request.Request(
            f"{api_url}/v1/stats", headers={"Authorization": f"Bearer {token}"}
        )
        self._stop_asked = threading.Event()
        self.latest: Mapping[str, Any] = {}

    def run(self) -> None:
        while not self._stop_asked.wait(POLL_S):
            try:
                with DIRECTLY.open(self._request, timeout=2.0) as response:
                    self.latest = json.load(response)
            except (OSError, ValueError):
                self.latest = {}

    def stop(self) -> None:
        self._stop_asked.set()


class StatusLine:
    """Rewrites one line on a terminal; prints one every ten seconds elsewhere."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = LossyOutput(out, telemetry.LOG_LINES_LOST.inc)
        self._terminal = out
        self._live = out.isatty()
        self._next_s = 0.0
        self._closed = ""

    def show(self, stats: Mapping[str, Any], now_s: float) -> None:
        if stats:
            self._say_whether_closed((stats.get("ingest_closed") or {}).get("reason", ""), stats)
        if self._live:  # a line that is wrapped is not rewritten but added, once a second
            self._out.write("\r\x1b[K" + fitted(stats, self._columns() - 1))
        elif now_s >= self._next_s and stats:
            self._out.write(line(stats) + "\n")
            self._next_s = now_s + PLAIN_LINE_S
        self._out.flush()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._terminal.fileno()).columns or COLUMNS
        except OSError:
            return COLUMNS

    def _say_whether_closed(self, reason: str, stats: Mapping[str, Any]) -> None:
        """Once when ingest stops, with what to do, and once when it goes on."""
        if reason != self._closed:
            self._closed = reason
            self.say(
                f"ingest has stopped: {stats['ingest_closed']['detail']}" if reason else "ingest goes on"
            )

    def say(self, text: str) -> None:
        """A message of its own above the line."""
        self._out.write(("\r\x1b[K" if self._live else "") + text + "\n")
        self._out.flush()


def fitted(stats: Mapping[str, Any], columns: int) -> str:
    """The line, in short where it would not fit, and cut where even that does not."""
    whole = line(stats)
    return whole if len(whole) <= columns else in_short(stats)[:columns]


def in_short(stats: Mapping[str, Any]) -> str:
    """What matters most, on a terminal of 80 columns."""
    visible, disk = (stats.get("latency_ms") or {}).get("visible"), stats.get("disk") or {}
    parts = [
        f"{_count(stats.get('rate'))}/s",
        f"lag {_ms(stats.get('lag_ms'))}",
        f"visible {_ms(_of(visible, 'p50')).removesuffix(' ms')}/{_ms(_of(visible, 'p99'))}",
        f"stored {_count(stats.get('stored'))}",
        f"rejected {_count(stats.get('rejected'))}",
        f"{_bytes(disk.get('used_bytes'))}, {_hours(disk.get('hours_left'))}",
    ]
    return ("CLOSED, " if stats.get("ingest_closed") else "") + ", ".join(parts)


def line(stats: Mapping[str, Any]) -> str:
    """One line, some 120 columns; a figure that is not known yet is a dash."""
    if not stats:
        return "waiting for figures …"
    latency = stats.get("latency_ms") or {}
    disk = stats.get("disk") or {}
    parts = [
        f"{_count(stats.get('rate'))}/s",
        f"lag {_ms(_first(stats, 'lag_ms', 'lag'))}",
        f"visible p50 {_ms(_of(latency, 'visible', 'p50'))} p99 {_ms(_of(latency, 'visible', 'p99'))}",
        f"durable p99 {_ms(_of(latency, 'durable', 'p99'))}",
        f"stored {_count(stats.get('stored'))}",
        f"rejected {_count(stats.get('rejected'))}",
        f"disk {_bytes(_first(disk, 'used_bytes', 'bytes'))}, {_hours(disk.get('hours_left'))} left",
        *([f"ingest stopped ({stats['ingest_closed']['reason']})"] if stats.get("ingest_closed") else []),
    ]
    return " · ".join(parts)


def _first(values: Mapping[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _of(values: Any, *path: str) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):  # a count split by reason
        value = value.get("total", sum(part for part in value.values() if isinstance(part, int | float)))
    return float(value) if isinstance(value, int | float) and value == value else None


def _count(value: Any) -> str:
    number = _number(value)
    if number is None:
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if number >= size:
            return f"{number / (1e3 if unit == 'k' else size):.1f}{unit}"
    return f"{number:.0f}"


def _ms(value: Any) -> str:
    number = _number(value)
    if number is None:
        return "–"
    return f"{number / 1000:.0f} s" if number >= 10_000 else f"{number:.0f} ms"


def _bytes(value: Any) -> str:
    number = _number(value)
    return "–" if number is None else f"{number / 1e9:.1f} GB"


def _hours(value: Any) -> str:
    number = _number(value)
    return "–" if number is None else f"{number:.0f} h"
