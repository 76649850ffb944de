"""RFC 3339, fast against the standard library's slow and obvious reader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.protocols import time_text
from millrace.protocols.time_text import NO_TIME, parse_time, parse_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

moments = st.datetimes(
    min_value=datetime(1, 1, 3),
    max_value=datetime(9999, 12, 29),
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


def naive(text: str) -> int:
    """The slow twin; only for texts that are times."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


@given(st.lists(st.tuples(moments, st.sampled_from("Tt ")), max_size=20))
@settings(max_examples=150)
def test_times_are_what_the_standard_library_says(wanted: list[tuple[datetime, str]]) -> None:
    texts = [moment.isoformat(sep) for moment, sep in wanted]
    assert parse_times(texts).tolist() == [naive(text.replace("t", "T")) for text in texts]


def test_the_kernel_means_the_same_interpreted() -> None:
    texts = [
        "2024-02-29T23:59:59.999999+05:30",
        "0001-01-01T00:00:00Z",
        "nope",
        "2026-01-05T08:00:00.1234567890Z",
        "",
    ]
    compiled = parse_times(texts).tolist()
    assert compiled == [_interpreted(text) for text in texts]


def _interpreted(text: str) -> int:
    import numpy as np

    kernels = [f for f in vars(time_text).values() if hasattr(f, "py_func")]
    saved = {f.py_func.__name__: f for f in kernels}
    try:
        for name, kernel in saved.items():
            setattr(time_text, name, kernel.py_func)
        return int(time_text.time_us(np.frombuffer(text.encode(), np.uint8), 0, len(text)))
    finally:
        for name, kernel in saved.items():
            setattr(time_text, name, kernel)


@given(st.text(max_size=70))
@settings(max_examples=200)
def test_any_text_is_a_time_or_none(text: str) -> None:
    parse_time(text)


@given(moments, st.integers(0, 40), st.text(min_size=1, max_size=2))
@settings(max_examples=200)
def test_damage_is_seen_or_means_what_the_library_means(moment: datetime, at: int, patch: str) -> None:
    text = moment.isoformat()
    damaged = text[:at] + patch + text[at + len(patch) :]
    found = parse_time(damaged)
    if found == NO_TIME:
        return
    try:
        assert found == naive(damaged.replace("t", "T").replace("z", "Z"))
    except (ValueError, OverflowError):
        raise AssertionError(f"{damaged!r} was taken, the standard library refuses it") from None
