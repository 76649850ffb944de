"""The alarms that move the number of workers: each is fed a series beyond its limit, one within it, and none.

They tell nobody, so nobody would notice one that never rings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from tests.infra.observability.alarms import metrics_of, queries, result
from tests.infra.observability.aws_metrics import METRICS
from tests.infra.observability.evaluator import EXTRA, Point, rule_of, state, watched
from tests.infra.program import Program, Resource

pytestmark = pytest.mark.requirement("S-06")
LAG, BYTES, CALM = "lag", "bytes", "calm"
Parts = Mapping[str, Point]


def scaling_alarms(program: Program) -> dict[str, Resource]:
    """By their nouns."""
    found = [one for one in program.of("aws_cloudwatch_metric_alarm") if "worker-scaling/" in one.path]
    return {one.path.rpartition("/")[2].removesuffix("-alarm"): one for one in found}


def examples(alarms: Mapping[str, Resource]) -> dict[str, tuple[list[Parts], list[Parts]]]:
    """Points of a minute that must move something, and points that must not."""
    lag_ms, per_task = float(alarms[LAG]["threshold"]), float(alarms[BYTES]["threshold"])
    full = 60 * per_task  # bytes of a minute that are as much as one worker should take
    return {
        LAG: ([{"lag": lag_ms}], [{"lag": math.nextafter(lag_ms, 0)}, {"lag": 0.0}]),
        BYTES: (
            [{"incoming": 3 * full, "running": 3.0}, {"incoming": full, "running": 1.0}],
            [{"incoming": 3 * full, "running": 4.0}, {"incoming": 0.0, "running": 1.0}],
        ),
        CALM: (
            # one of three is too many; a night without a reading
            [{"lag": 0.0, "incoming": full, "running": 3.0}, {"lag": 999.0, "incoming": None, "running": 2.0}],
            # behind; the other two would be too few; there is one alone
            [{"lag": 1000.0, "incoming": full, "running": 3.0}, {"lag": 0.0, "incoming": 1.9 * full, "running": 3.0},
             {"lag": 0.0, "incoming": None, "running": 1.0}],
        ),
    }  # fmt: skip


def fed(alarm: Resource, parts: Parts, count: int) -> list[Point]:
    return watched(alarm, {name: [value] * count for name, value in parts.items()})


def test_every_alarm_of_scaling_has_examples(services: Program) -> None:
    alarms = scaling_alarms(services)
    assert set(examples(alarms)) == set(alarms)


def test_a_series_beyond_the_limit_moves_the_number_and_one_within_it_does_not(services: Program) -> None:
    alarms = scaling_alarms(services)
    for noun, (bad, good) in examples(alarms).items():
        alarm, rule = alarms[noun], rule_of(alarms[noun])
        for parts in bad:
            assert state(rule, fed(alarm, parts, rule.of + EXTRA)) == "ALARM", (noun, parts)
        for parts in good:
            assert state(rule, fed(alarm, parts, rule.of + EXTRA), before="ALARM") == "OK", (noun, parts)


def test_one_minute_less_than_wanted_moves_nothing(services: Program) -> None:
    alarms = scaling_alarms(services)
    for noun, (bad, good) in examples(alarms).items():
        alarm, rule = alarms[noun], rule_of(alarms[noun])
        seen = [*fed(alarm, good[0], rule.of), *fed(alarm, bad[0], rule.breaching - 1)]
        assert state(rule, seen) == "OK", noun


def test_what_is_not_known_moves_nothing(services: Program) -> None:
    """Nothing at all, or the one series without which there is no answer."""
    alarms = scaling_alarms(services)
    needed: Mapping[str, Sequence[str]] = {
        LAG: ["lag"],
        BYTES: ["incoming", "running"],
        CALM: ["lag", "running"],
    }
    for noun, (bad, _) in examples(alarms).items():
        alarm, rule = alarms[noun], rule_of(alarms[noun])
        unknown = [dict.fromkeys(bad[0]), *({**bad[0], name: None} for name in needed[noun])]
        for parts in unknown:
            assert state(rule, fed(alarm, parts, rule.of + EXTRA), before="ALARM") == "OK", (noun, parts)


def test_every_metric_of_scaling_exists_with_these_dimensions(services: Program) -> None:
    for noun, alarm in scaling_alarms(services).items():
        assert queries(alarm)[result(alarm)]["return_data"] is True
        assert {metric for metric, _ in metrics_of(alarm)} <= set(METRICS), noun
