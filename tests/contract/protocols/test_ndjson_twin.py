"""NDJSON: the scanner of columns against the reader of one line after the other, on good, odd and broken bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.protocols import (
    Limits,
    byte_kernel,
    json_text,
    ndjson,
    ndjson_scan,
    nearest_float,
    number_text,
    text_table,
    time_text,
)
from millrace.protocols.columns import Columns
from millrace.protocols.ndjson_scan import SLOW, rows_for, scan
from millrace.protocols.text_table import texts_for
from tests.contract.protocols.ndjson_line_by_line import decode_line_by_line

T = 1_767_600_000_000_000
LIMITS = Limits(tags_max=6)


def fast(body: bytes, limits: Limits = LIMITS) -> Columns:
    return json_text.decode(body, content="ndjson", limits=limits, received_ts_us=T)


def meaning(columns: Columns) -> dict[str, Any]:
    """Everything a body becomes, values bit for bit."""
    return {
        "tags": columns.tags,
        "kinds": columns.kinds.tolist(),
        "states": columns.states,
        "units": columns.units,
        "tag": columns.tag.tolist(),
        "ts_us": columns.ts_us.tolist(),
        "value": columns.value.tobytes(),
        "quality": columns.quality.tolist(),
        "rejects": columns.rejects,
        "types": [column.dtype for column in (columns.kinds, columns.tag, columns.value, columns.quality)],
    }


def assert_twins(body: bytes) -> None:
    assert meaning(fast(body)) == meaning(decode_line_by_line(body, limits=LIMITS, received_ts_us=T))


names = st.sampled_from(["a/b", "a/c", "é/ü", "a", "", "a//b", "x" * 257, "a\\u00e9", "b\\/c", '"', "\x01", "unit"])
tags = names.map(lambda name: f'"{name}"') | st.text(max_size=8).map(json.dumps)
times = st.one_of(
    st.integers(T - 50, T + 50).map(str),
    st.sampled_from(['"2026-01-05T08:00:00Z"', '"2026-01-05T09:00:00.123456789+01:00"', '"x"', '"\\u0032"', '"é"']),
    st.sampled_from(["0", "-0", "01", "1.0", "-5", "null", str(2**63), "9" * 18, "9" * 19, "1e3", "true"]),
)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e3, 1e3).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.tuples(st.integers(-(10**19), 10**19), st.integers(-70, 70)).map(lambda p: f"{p[0]}e{p[1]}"),
    st.tuples(st.integers(0, 10**6), st.text("0123456789", min_size=1, max_size=25)).map(lambda p: f"{p[0]}.{p[1]}"),
    st.sampled_from(["-0", "-0.0", "0", "01", "1.", ".5", "1e", "1e+5", "1E-05", "+1", "-", "1e999", "1e-999", "0e0"]),
    st.sampled_from(["9007199254740991", "9007199254740992", "9007199254740993", "0.1", "5e-324", "NaN", "-Infinity"]),
)
values = st.one_of(
    numbers,
    st.sampled_from(["true", "false", "null", "tru", "falsy", "nul", "[]", "{}"]),
    st.sampled_from(["RUN", "STOP", "é", "\\n", "x" * 300, "a/b", ""]).map(lambda state: f'"{state}"'),
)
qualities = st.sampled_from(["192", "0", "64", "255", "256", "-1", "1.0", "-0", "007", "null", "9" * 20])
units = st.sampled_from(['"bar"', '"°C"', '""', '"x\\u0041"', '"' + "y" * 33 + '"', "null", "7"])
white = st.sampled_from(["", "", "", " ", "\t", " \r "])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """An object in any order of its keys, mostly a reading."""
    fields = [("tag", draw(tags)), ("ts", draw(times)), ("value", draw(values))]
    fields += draw(st.sampled_from([[], [], [("quality", draw(qualities))], [("unit", draw(units))], [("x", "1")]]))
    fields += draw(st.sampled_from([[], [], [], [("unit", draw(units))], [("tag", draw(tags))]]))
    order = draw(st.permutations(fields))
    order = order[: draw(st.sampled_from([9, 9, 9, 9, 9, 2]))]
    gap = draw(white)
    text = ",".join(f'{gap}"{key}"{gap}:{gap}{content}{gap}' for key, content in order)
    return f"{gap}{{{text}}}{gap}".encode("utf-8", "surrogatepass")


PATCHES = [b"", b"\n", b'"', b"\\", b"\xff", b"\xc3", b"}", b"{", b",", b"\0", b"0", b"-"]
ordinary = st.builds(
    lambda tag, ts, value, quality: f'{{"tag":"a/{tag}","ts":{ts},"value":{value},"quality":{quality}}}'.encode(),
    st.integers(0, 8), st.integers(T - 5, T), st.floats(-1e6, 1e6) | st.integers(-9, 9), st.sampled_from([192, 64, 0]),
)  # fmt: skip


@pytest.mark.requirement("S-19")
@given(st.lists(lines() | ordinary, max_size=12), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\n"]), st.booleans())
@example([], b"\n", False)
@settings(max_examples=600)
def test_scanning_gives_what_reading_line_by_line_gives(found: list[bytes], end: bytes, closed: bool) -> None:
    assert_twins(end.join(found) + (end if closed else b""))


@given(st.lists(lines() | ordinary, min_size=1, max_size=5), st.data())
@settings(max_examples=600)
def test_damaged_bytes_mean_what_they_mean_line_by_line(found: list[bytes], data: st.DataObject) -> None:
    body = bytearray(b"\n".join(found))
    for _ in range(data.draw(st.integers(1, 3))):
        at, cut = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 2))
        body[at : at + cut] = data.draw(st.sampled_from(PATCHES))
    assert_twins(bytes(body))


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_mean_what_they_mean_line_by_line(body: bytes) -> None:
    assert_twins(body)


ODD = [
    f'{{"tag":"a/b","tag":"a/c","ts":{T},"value":1}}',
    f'{{"tag":"a/b","ts":{T},"value":"RUN","value":1}}',
    f'{{"tag":"a/b","ts":{T},"value":-0}}',
    f'{{"tag":"a/b","ts":{T},"value":-0.0}}',
    f'{{"tag":"a/b","ts":{T},"value":9007199254740993}}',
    f'{{"tag":"a/b","ts":{T},"value":9007199254740993.0}}',
    f'{{"tag":"a/b","ts":{T},"value":0.30000000000000004}}',
    f'{{"tag":"a/b","ts":{T},"value":1,"unit":""}}',
    f'{{"tag":"a/b","ts":{T},"value":1}}}}',
    f'{{"tag":"a/b","ts":{T},"value":1}} x',
    f'{{"tag":"a/b2","ts":{T},"value":1}}',
    f'{{"tag":"a/b\xff","ts":{T},"value":1}}',
    f'{{"tag":"a/b","ts":{T},"value":"\xff"}}',
    f'{{"tag":"a/b","ts":{T},"value":1,"unit":"\xff"}}',
    '{"tag":"a/b","ts":"\xff","value":1}',
    f'{{"tag":"a/\\u0062","ts":{T},"value":1}}',
    '{"tag":"a/b","ts":-9223372036854775808,"value":1}',
    '{"tag":"a/b","ts":"2026-01-05T08:00:00","value":1}',
    f'{{"tag":"a/b","ts":{T - 1},"value":1}}',
    f'{{"tag":"a/c","ts":{T},"value":null,"quality":0}}',
    "nothing \t\r",
    f'{{"tag":"a/bX,"ts":{T},"value":1}}',
    f' {{"tag":"a/b","ts":{T},"value":1,"more":1}} ',
]


@pytest.mark.parametrize("odd", [line.encode("latin-1") for line in ODD])
def test_an_odd_line_among_plain_ones_is_what_it_is_alone(odd: bytes) -> None:
    plain = b'{"tag":"a/b","ts":%d,"value":1.5}' % T
    for body in ([odd], [odd, plain], [plain, odd], [plain, plain, odd], [plain, odd, plain, odd, plain]):
        assert_twins(b"\n".join(body))


@pytest.mark.parametrize("count", [1, 63, 64, 65, 2_000])
def test_more_texts_than_the_table_was_made_for_are_read_all_the_same(count: int) -> None:
    rows = [f'{{"tag":"t{i}","ts":{T},"value":"s{i}","unit":"u{i % 40}"}}'.encode() for i in range(count)]
    body = b"\n".join([*rows, *rows])
    wide = Limits()
    assert meaning(fast(body, wide)) == meaning(decode_line_by_line(body, limits=wide, received_ts_us=T))


def test_texts_that_fall_on_one_place_of_the_table_are_told_apart() -> None:
    by_place: dict[int, list[str]] = {}
    for i in range(40_000):
        name = f"tag-{i}"
        text = np.frombuffer(name.encode(), np.uint8)
        by_place.setdefault(text_table._hash(text, 0, len(text)) & 255, []).append(name)
    crowd = max(by_place.values(), key=len)[:60]
    body = "\n".join(f'{{"tag":"{name}","ts":{T},"value":{i}}}' for i, name in enumerate(crowd * 2)).encode()
    wide = Limits()
    assert meaning(fast(body, wide)) == meaning(decode_line_by_line(body, limits=wide, received_ts_us=T))


def test_texts_of_one_length_and_hash_are_told_apart() -> None:
    twins = [b"tag-38333", b"tag-60488"]  # found by trying
    assert len({text_table._hash(np.frombuffer(name, np.uint8), 0, len(name)) for name in twins}) == 1
    found = fast(b"\n".join(b'{"tag":"%s","ts":%d,"value":1}' % (name, T) for name in twins * 2))
    assert (found.tags, found.tag.tolist()) == (("tag-38333", "tag-60488"), [0, 1, 0, 1])


def test_ordinary_lines_are_not_left_to_the_slow_reader() -> None:
    body = (
        f'{{"tag":"a/b","ts":{T},"value":71.25}}\n'
        f' {{ "value" : -1.5e-3 , "quality":0, "tag":"é", "ts":"2026-01-05T08:00:00Z","unit":"°C"}}\r\n'
        f'{{"tag":"a/b","ts":{T},"value":71.25000000000001}}\n'
        f'{{"tag":"a/b","ts":{T},"value":"RUN"}}\n{{"tag":"a/b","ts":{T},"value":null,"quality":0}}\n'
        f'{{"tag":"a/b","ts":{T},"value":true}}\n{{"tag":"a\\u0041","ts":{T},"value":1}}\n'
    ).encode()
    rows, texts = rows_for(8), texts_for(8)
    assert scan(np.frombuffer(body, np.uint8), rows, texts) == (7, 4)
    assert (rows.code[:7] == SLOW).tolist() == [False] * 6 + [True]


@contextmanager
def interpreted() -> Iterator[None]:
    """Every kernel of the scanner as plain Python."""
    modules = (byte_kernel, time_text, number_text, nearest_float, text_table, ndjson_scan)
    named = [(module, name, found) for module in modules for name, found in vars(module).items()]
    saved = [one for one in named if hasattr(one[2], "py_func")]
    try:
        for module, name, kernel in saved:
            setattr(module, name, kernel.py_func)
        yield
    finally:
        for module, name, kernel in saved:
            setattr(module, name, kernel)


@given(st.lists(lines() | ordinary, max_size=4))
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_the_kernels_mean_the_same_interpreted(found: list[bytes]) -> None:
    body = b"\n".join(found)
    with interpreted():
        slow = meaning(fast(body))
    assert meaning(fast(body)) == slow


def test_no_body_compiles_anything_once_the_kernels_are_warm() -> None:
    ndjson.compile_kernels()
    entered = (ndjson_scan.line_count, ndjson_scan._scan, ndjson_scan._survey, time_text._parse)
    before = [list(kernel.signatures) for kernel in entered]
    for line in (
        b'{"tag":"a","ts":"2026-01-05T08:00:00Z","value":0.1234567890123456,"quality":0,"unit":"bar"}',
        b'{"tag":"a","ts":1,"value":"RUN"}\n{"tag":"b","ts":1,"value":true}\n{"tag":"b","ts":1,"value":null}',
        b'{"tag":"\\u0061","ts":"x","value":12345678901234567890}',
        b"nothing",
    ):
        fast(line)
    assert [list(kernel.signatures) for kernel in entered] == before
    assert all(before)
