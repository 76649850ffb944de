"""CloudWatch's evaluation of an alarm, small: m of n with missing points, and the mathematics that our rows use.

Source of both: CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data" and "Using math
expressions". A point is a number or None, where nothing came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.infra.observability.alarms import expression, queries, result
from tests.infra.program import Resource

Point = float | None
EXTRA = 2
"""CloudWatch looks further back than it evaluates; by how much it does not promise. The guide's examples show two."""
BREACHES: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, limit: value >= limit,
    "GreaterThanThreshold": lambda value, limit: value > limit,
    "LessThanOrEqualToThreshold": lambda value, limit: value <= limit,
    "LessThanThreshold": lambda value, limit: value < limit,
}
FILLED = {"breaching": True, "notBreaching": False}


@dataclass(frozen=True)
class Rule:
    """What decides: `breaching` of `of` points beyond the limit, and what a missing point counts as."""

    breaching: int
    of: int
    missing: str
    beyond: Callable[[float], bool]


def state(rule: Rule, points: Sequence[Point], *, before: str = "OK") -> str:
    """OK, ALARM or INSUFFICIENT_DATA after these points, the newest last."""
    seen = [point for point in points[-(rule.of + EXTRA) :] if point is not None]
    real = [rule.beyond(point) for point in seen]
    if len(real) >= rule.of:
        return _settled(sum(real[-rule.of :]) >= rule.breaching)
    filled = rule.of - len(real)
    if rule.missing in FILLED:
        return _settled(sum(real) + filled * FILLED[rule.missing] >= rule.breaching)
    if not real:
        return before if rule.missing == "ignore" else "INSUFFICIENT_DATA"
    if all(real) and sum(real) < rule.breaching:
        # nothing speaks against an alarm, and too little for it
        return before if rule.missing == "ignore" else "ALARM"
    return _settled(sum(real) >= rule.breaching)


def _settled(alarm: bool) -> str:
    return "ALARM" if alarm else "OK"


def rule_of(alarm: Resource) -> Rule:
    limit, compare = float(alarm["threshold"]), BREACHES[alarm["comparison_operator"]]
    return Rule(
        int(alarm["datapoints_to_alarm"]),
        int(alarm["evaluation_periods"]),
        alarm["treat_missing_data"],
        lambda value: compare(value, limit),
    )


def watched(alarm: Resource, parts: Mapping[str, Sequence[Point]]) -> list[Point]:
    """The points that the alarm sees: of its one metric, or of its expression over several."""
    text = expression(alarm)
    if not text or text.startswith("SELECT"):
        return list(parts[result(alarm) or "value"])
    named = set(queries(alarm)) - {result(alarm)}
    assert set(parts) == named, f"{sorted(parts)} given, {sorted(named)} named"
    count = max(len(points) for points in parts.values())
    return [calculate(text, {name: points[at] for name, points in parts.items()}) for at in range(count)]


@dataclass(frozen=True)
class Number:
    """A value at one time. What is calculated with a missing one is missing; so is what is divided by zero."""

    value: Point

    def _with(self, other: object, how: Callable[[float, float], float]) -> Number:
        right = number(other).value
        if self.value is None or right is None:
            return Number(None)
        try:
            return Number(float(how(self.value, right)))
        except ZeroDivisionError:
            return Number(None)

    def __add__(self, other: object) -> Number:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: object) -> Number:
        return self._with(other, lambda a, b: a - b)

    def __mul__(self, other: object) -> Number:
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Number:
        return self._with(other, lambda a, b: a / b)

    def __and__(self, other: object) -> Number:
        return self._with(other, lambda a, b: bool(a) and bool(b))

    def __gt__(self, other: object) -> Number:
        return self._with(other, lambda a, b: a > b)

    def __ge__(self, other: object) -> Number:
        return self._with(other, lambda a, b: a >= b)

    def __lt__(self, other: object) -> Number:
        return self._with(other, lambda a, b: a < b)


def number(value: object) -> Number:
    if isinstance(value, Number):
        return value
    assert value is None or isinstance(value, int | float)
    return Number(None if value is None else float(value))


def _fill(value: object, instead: float) -> Number:
    return Number(instead) if number(value).value is None else number(value)


def _if(condition: object, then: object, otherwise: object) -> Number:
    found = number(condition).value
    return Number(None) if found is None else number(then if found else otherwise)


def _max(values: Sequence[object]) -> Number:
    found = [value for value in (number(one).value for one in values) if value is not None]
    return Number(max(found) if found else None)


def _abs(value: object) -> Number:
    found = number(value).value
    return Number(None if found is None else abs(found))


FUNCTIONS = {"FILL": _fill, "IF": _if, "MAX": _max, "ABS": _abs}


def calculate(text: str, values: Mapping[str, Point]) -> Point:
    """One point of an expression."""
    names = {name: Number(value) for name, value in values.items()}
    text = text.replace(" AND ", " & ")  # its operands stand in brackets
    return number(eval(text, {"__builtins__": {}}, {**FUNCTIONS, **names})).value
