"""No row that is missing, doubled or other passes the comparison, and no number that is off."""

from __future__ import annotations

import pytest

from benchmarks.peers import differences
from benchmarks.peers.tag_state import Row

ROLLUPS: list[Row] = [("a", 0, 10, 1.0, 2.0, 15.0, 1.0, 2.0), ("b", 0, 10, 1.0, 2.0, 15.0, 1.0, 2.0)]
ANOMALIES: list[Row] = [("a", 100, 200, 80.0, 50.0, 7.5, 1), ("a", 300, 300, 81.0, 50.1, 7.6, 0)]


def altered(row: Row, place: int, value: float | str) -> Row:
    return (*row[:place], value, *row[place + 1 :])


def test_the_same_rows_in_any_order_are_equal() -> None:
    assert differences.of_rollups(ROLLUPS, ROLLUPS[::-1]) == ""
    assert differences.of_anomalies(ANOMALIES, ANOMALIES[::-1]) == ""


@pytest.mark.parametrize("found", [ROLLUPS[:1], [*ROLLUPS, ROLLUPS[0]], [*ROLLUPS, ("c", *ROLLUPS[0][1:])]])
def test_a_rollup_that_is_missing_doubled_or_added_is_said(found: list[Row]) -> None:
    assert f"{len(found)} rows, wanted 2" in differences.of_rollups(ROLLUPS, found)


@pytest.mark.parametrize("place", range(2, 8))
def test_a_rollup_is_compared_to_its_last_bit(place: int) -> None:
    other = altered(ROLLUPS[0], place, ROLLUPS[0][place] * (1 + 2e-16) if place > 2 else 11)
    assert "1 missing, 1 other" in differences.of_rollups(ROLLUPS, [other, ROLLUPS[1]])


@pytest.mark.parametrize(
    "found", [ANOMALIES[:1], [*ANOMALIES, ANOMALIES[0]], [*ANOMALIES, altered(ANOMALIES[0], 1, 150)]]
)
def test_an_anomaly_that_is_missing_doubled_or_added_is_said(found: list[Row]) -> None:
    assert f"{len(found)} rows, wanted 2" in differences.of_anomalies(ANOMALIES, found)


@pytest.mark.parametrize(("place", "value"), [(0, "b"), (1, 101), (2, 201), (3, 80.00000000000001), (6, 0)])
def test_an_anomaly_of_another_tag_time_value_or_state_is_another(place: int, value: float | str) -> None:
    other = altered(ANOMALIES[0], place, value)
    assert "1 missing, 1 other" in differences.of_anomalies(ANOMALIES, [other, ANOMALIES[1]])


@pytest.mark.parametrize("place", [4, 5])
def test_what_was_learned_may_be_off_by_a_billionth_and_no_more(place: int) -> None:
    first, second = ANOMALIES
    near, far = (altered(first, place, first[place] * (1 + off)) for off in (5e-10, 2e-9))
    assert differences.of_anomalies(ANOMALIES, [near, second]) == ""
    assert "1 rows are off" in differences.of_anomalies(ANOMALIES, [far, second])
