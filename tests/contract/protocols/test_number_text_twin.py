"""JSON numbers: the kernels against `float`, which rounds to the nearest, bit for bit or not read at all."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.batch import ValueKind
from millrace.protocols.nearest_float import FIVES, POWER_MAX, nearest_float
from millrace.protocols.number_text import NO_NUMBER, POWERS, number, whole

JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


def read(text: str) -> tuple[float, int, int]:
    value, kind, end = number(np.frombuffer(text.encode() + b",", np.uint8), 0, *POWERS)
    return float(value), int(kind), int(end)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def assert_exact(text: str) -> None:
    value, _, end = read(text)
    if end != NO_NUMBER:
        assert (bits(value), end) == (bits(float(text)), len(text)), text


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=500)
def test_a_float_as_python_writes_it_is_read_back_bit_for_bit(value: float) -> None:
    assert_exact(repr(value))


@given(st.floats(-1e6, 1e6).filter(lambda value: abs(value) > 1e-4 or value == 0))
@settings(max_examples=500)
def test_what_sensors_send_is_read_and_not_left_to_the_slow_reader(value: float) -> None:
    found, kind, end = read(repr(value))
    assert (bits(found), kind, end) == (bits(value), ValueKind.FLOAT, len(repr(value)))


@given(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(-POWER_MAX, POWER_MAX))
@example(2**53 + 1, 0)
@settings(max_examples=1_000)
def test_any_mantissa_and_power_is_the_nearest_float(mantissa: int, power: int) -> None:
    assert_exact(f"{mantissa}e{power}")


@given(st.integers(2**52, 2**53 - 1), st.integers(0, 6), st.sampled_from([-1, 0, 1]))
@settings(max_examples=1_000)
def test_halfway_between_two_floats_goes_to_the_even_one(low: int, power: int, off: int) -> None:
    halfway = 2 * low + 1  # of 54 bits: between two float64
    assert_exact(f"{halfway * 5**power * 2**power + off}e-{power}")
    assert_exact(f"{low}.5")
    wide = np.int64(halfway * 5**power + off) if halfway * 5**power < 2**62 else np.int64(halfway)
    assert bits(nearest_float(wide, 0, FIVES)) == bits(float(int(wide)))


@given(st.text("0123456789.eE+-", max_size=24))
@settings(max_examples=500)
def test_what_is_read_is_a_json_number_and_exact(text: str) -> None:
    value, kind, end = read(text)
    if end == NO_NUMBER:
        return
    taken = text[:end]
    assert bits(value) == bits(float(taken))
    assert kind == (ValueKind.FLOAT if set(taken) & set(".eE") else ValueKind.INTEGER)
    assert JSON_NUMBER.fullmatch(taken)


@pytest.mark.parametrize("text", ["", "-", "01", "-0", "1.", ".5", "1e", "1e+", "+1", "1234567890123456", "1e999"])
def test_what_is_no_number_or_not_certain_is_left_alone(text: str) -> None:
    assert read(text)[2] == NO_NUMBER


@given(st.integers(-(10**19), 10**19) | st.integers(-9, 9))
@settings(max_examples=300)
def test_a_whole_number_is_exact_or_left_alone(value: int) -> None:
    found, end = whole(np.frombuffer(f"{value},".encode(), np.uint8), 0)
    assert (int(found), int(end)) == (value, len(str(value))) if abs(value) < 10**18 else end == NO_NUMBER
