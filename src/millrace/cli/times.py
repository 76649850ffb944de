"""Times as a verb prints them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(ts_us: int) -> str:
    """`2026-01-05T08:00:00.250+00:00`: UTC, to the millisecond."""
    return datetime.fromtimestamp(ts_us / 1e6, UTC).isoformat(timespec="milliseconds")
