"""Times as parameters and as answers: RFC 3339 or integer microseconds in, both out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from millrace.api.problems import bad_parameter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MAX_US = 253_402_300_800_000_000  # year 10000


def parse_time(text: str, field: str) -> int:
    """Microseconds of a parameter; a problem that names the field when it is no time."""
    wanted = "a time such as 2026-01-05T08:00:00Z, or integer microseconds since 1970"
    if text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) < TIME_MAX_US:
        return int(text)
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise bad_parameter(field, text, wanted) from None
    if moment.tzinfo is None:
        raise bad_parameter(field, text, wanted + " (a time needs its offset, Z for UTC)")
    since = (moment - EPOCH) // timedelta(microseconds=1)
    if not 0 <= since < TIME_MAX_US:
        raise bad_parameter(field, text, "a time between 1970 and 9999")
    return since


def rfc3339(ts_us: int) -> str:
    """`2026-01-05T08:00:00.123456Z`."""
    moment = EPOCH + timedelta(microseconds=ts_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
