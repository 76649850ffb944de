"""The evaluator agrees with CloudWatch's own worked examples, or no alarm's test means anything."""

from __future__ import annotations

import pytest

from tests.infra.observability.evaluator import Point, Rule, calculate, state

KEEP = "before"
# CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data": 0 is well, X breaches, - is missing;
# then the state where missing counts as missing, ignore, breaching, notBreaching
THREE_OF_THREE = [
    ("0 - X - X", "OK", "OK", "OK", "OK"),
    ("- - - - 0", "OK", "OK", "OK", "OK"),
    ("- - - - -", "INSUFFICIENT_DATA", KEEP, "ALARM", "OK"),
    ("0 X X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("- - X - -", "ALARM", KEEP, "ALARM", "OK"),
]
TWO_OF_THREE = [
    ("0 - X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0 0 X 0 X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0 - X - -", "OK", "OK", "ALARM", "OK"),
    ("- - - - 0", "OK", "OK", "ALARM", "OK"),
    ("- - - - X", "ALARM", KEEP, "ALARM", "OK"),
]
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
EXAMPLES = [
    (breaching, points, treatment, wanted)
    for breaching, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for points, *states in table
    for treatment, wanted in zip(TREATMENTS, states, strict=True)
]


@pytest.mark.parametrize(("breaching", "points", "treatment", "wanted"), EXAMPLES)
@pytest.mark.parametrize("before", ["OK", "ALARM"])
def test_the_states_are_those_of_the_guide(
    breaching: int, points: str, treatment: str, wanted: str, before: str
) -> None:
    values: dict[str, Point] = {"0": 0.0, "X": 1.0, "-": None}
    rule = Rule(breaching, 3, treatment, lambda value: value >= 1)
    found = state(rule, [values[point] for point in points.split()], before=before)
    assert found == (before if wanted == KEEP else wanted)


@pytest.mark.parametrize(
    ("text", "values", "wanted"),
    [
        ("a - b", {"a": 3.0, "b": None}, None),
        ("a - FILL(b, 0)", {"a": 3.0, "b": None}, 3.0),
        ("MAX([FILL(a, 0), FILL(b, 0)])", {"a": None, "b": 2.0}, 2.0),
        ("IF(a > 0, 100 * (a - b) / a, 0)", {"a": 0.0, "b": 5.0}, 0.0),
        ("IF(a > 0, 100 * ABS(a - b) / a, 0)", {"a": 4.0, "b": 5.0}, 25.0),
        ("IF(a >= 1, IF(FILL(b, 0) < 1, 1, 0), 0)", {"a": 1.0, "b": None}, 1.0),
        ("IF(a >= 1, IF(FILL(b, 0) < 1, 1, 0), 0)", {"a": None, "b": None}, None),
        ("a / b", {"a": 1.0, "b": 0.0}, None),
    ],
)
def test_what_is_missing_stays_missing_until_it_is_filled(
    text: str, values: dict[str, Point], wanted: Point
) -> None:
    assert calculate(text, values) == wanted
