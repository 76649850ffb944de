"""How many tasks run: by which metric, up to where, and how fast."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.program import Program, Resource
from tests.infra.services.parts import Build


def metrics(alarm: Resource) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in alarm["metric_query"]}


def returned(alarm: Resource) -> list[str]:
    return [one["id"] for one in alarm["metric_query"] if one.get("return_data")]


@pytest.mark.requirement("S-06")
def test_the_lag_is_the_metric_of_the_retrieval_that_is_used(built: Build) -> None:
    fan_out = metrics(built("dev").at("worker-scaling/lag-alarm"))["lag"]["metric"]
    assert fan_out["metric_name"] == "SubscribeToShardEvent.MillisBehindLatest"
    assert fan_out["dimensions"] == {"StreamName": "millrace-stream-t1", "ConsumerName": "a-consumer"}
    polling = metrics(built("dev", "").at("worker-scaling/lag-alarm"))["lag"]["metric"]
    assert polling["metric_name"] == "GetRecords.IteratorAgeMilliseconds"
    assert polling["dimensions"] == {"StreamName": "millrace-stream-t1"}
    assert fan_out["stat"] == polling["stat"] == "Maximum"  # the slowest shard decides


@pytest.mark.requirement("S-06")
def test_workers_follow_the_bytes_that_come_in_for_each_of_them(services: Program) -> None:
    alarm = services.at("worker-scaling/bytes-alarm")
    assert returned(alarm) == ["per_task"]
    assert metrics(alarm)["per_task"]["expression"] == "incoming / 60 / running"
    running = metrics(alarm)["running"]["metric"]
    assert (running["namespace"], running["metric_name"]) == ("ECS/ContainerInsights", "RunningTaskCount")
    assert set(running["dimensions"]) == {"ClusterName", "ServiceName"}
    (cluster,) = services.of("aws_ecs_cluster")
    assert {"name": "containerInsights", "value": "enabled"} in cluster["setting"]


@pytest.mark.requirement("S-06")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_no_more_workers_than_shards(built: Build, name: str) -> None:
    from millrace_infra.settings import load

    settings = load(name, SUFFIX, folder=FOLDER).settings
    target = built(name).at("worker-scaling/target")
    assert target["max_capacity"] == min(settings.worker.count_max, settings.stream.shards)
    assert target["min_capacity"] == min(settings.worker.count_min, target["max_capacity"])


def within(step: dict[str, Any], over: float) -> bool:
    end = step.get("metric_interval_upper_bound", "inf")
    return float(step["metric_interval_lower_bound"]) <= over < float(end)


def settled(program: Program, bytes_per_s: float) -> int:
    """Workers after the alarm and its steps have done what they do, from the least on, under a steady load."""
    alarm = program.at("worker-scaling/bytes-alarm")
    steps = program.at("worker-scaling/up-on-bytes")["step_scaling_policy_configuration"]
    target = program.at("worker-scaling/target")
    assert alarm["comparison_operator"] == "GreaterThanOrEqualToThreshold"
    running = target["min_capacity"]
    for _ in range(100):
        names = {"incoming": bytes_per_s * 60, "running": running}
        over = eval(metrics(alarm)["per_task"]["expression"], {}, names) - alarm["threshold"]
        if over < 0 or running == target["max_capacity"]:
            return int(running)
        (percent,) = [step["scaling_adjustment"] for step in steps["step_adjustment"] if within(step, over)]
        more = max(running * percent // 100, steps["min_adjustment_magnitude"])
        running = min(running + more, target["max_capacity"])
    raise AssertionError(f"still moving at {running} workers")


@pytest.mark.requirement("S-15")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_at_the_declared_load_all_workers_run_and_at_half_of_it_a_part(built: Build, name: str) -> None:
    from millrace_infra.settings import load

    size = load(name, SUFFIX, folder=FOLDER).settings
    declared = size.load.events_per_s * size.load.event_bytes * size.load.headroom
    ceiling = min(size.worker.count_max, size.stream.shards)
    assert settled(built(name), declared) == ceiling
    assert settled(built(name), 10 * declared) == ceiling
    # as many as carry it, and no more than one step of a quarter beyond
    assert ceiling / 2 <= settled(built(name), declared / 2) <= max(size.worker.count_min, ceiling / 2 * 1.25 + 1)
    assert settled(built(name), 0) == min(size.worker.count_min, ceiling)


@pytest.mark.requirement("S-06")
def test_workers_come_at_once_and_go_one_by_one(services: Program) -> None:
    for id_ in ("up-on-lag", "up-on-bytes"):
        steps = services.at(f"worker-scaling/{id_}")["step_scaling_policy_configuration"]
        assert steps["adjustment_type"] == "PercentChangeInCapacity"
        assert steps["min_adjustment_magnitude"] == 1
        assert [step["scaling_adjustment"] for step in steps["step_adjustment"]] == [25, 100]
    down = services.at("worker-scaling/down")["step_scaling_policy_configuration"]
    assert down["adjustment_type"] == "ChangeInCapacity"
    assert [step["scaling_adjustment"] for step in down["step_adjustment"]] == [-1]
    assert down["cooldown"] >= 600
    calm, lag = services.at("worker-scaling/calm-alarm"), services.at("worker-scaling/lag-alarm")
    assert calm["evaluation_periods"] >= 15
    assert lag["evaluation_periods"] <= 2


def calm(program: Program, *, lag_ms: float, bytes_per_min: float, running: int) -> bool:
    """The expression of the alarm, as CloudWatch evaluates it over one minute."""
    text = metrics(program.at("worker-scaling/calm-alarm"))["calm"]["expression"]
    names = {
        "IF": lambda condition, yes, no: yes if condition else no,
        "FILL": lambda value, default: default if value is None else value,
        "lag": lag_ms,
        "incoming": bytes_per_min,
        "running": running,
    }
    return bool(eval(text.replace("AND", "and"), {}, names))


@pytest.mark.requirement("S-06")
def test_a_worker_goes_only_if_the_rest_would_stay_below_what_brings_one(peak: Program) -> None:
    limit = peak.at("worker-scaling/bytes-alarm")["threshold"]
    little, much = 60 * 4 * limit * 0.6, 60 * 4 * limit * 0.8
    assert calm(peak, lag_ms=100, bytes_per_min=little, running=5)
    assert not calm(peak, lag_ms=100, bytes_per_min=much, running=5)
    assert not calm(peak, lag_ms=20_000, bytes_per_min=little, running=5)
    assert not calm(peak, lag_ms=0, bytes_per_min=0, running=1)
    # the remaining four are not at once too few
    assert little / 60 / 4 < limit


@pytest.mark.requirement("S-06")
def test_silence_moves_nothing(services: Program) -> None:
    for id_ in ("lag", "bytes", "calm"):
        alarm = services.at(f"worker-scaling/{id_}-alarm")
        assert alarm["treat_missing_data"] == "notBreaching"
        policy = services.follow(alarm["alarm_actions"][0])
        assert policy is not None
        assert policy.type == "aws_appautoscaling_policy"
    # a lag without a point gives the expression none either: blind is not calm
    text = metrics(services.at("worker-scaling/calm-alarm"))["calm"]["expression"]
    assert "FILL(lag" not in text


@pytest.mark.requirement("S-22")
def test_the_api_follows_the_requests_of_both_colours(services: Program) -> None:
    policy = services.at("api-scaling/policy")["target_tracking_scaling_policy_configuration"]
    # predefined ALBRequestCountPerTarget sees one target group, so a deployment would blind it
    assert "predefined_metric_specification" not in policy
    series = {one["id"]: one for one in policy["customized_metric_specification"]["metrics"]}
    groups = set()
    for id_ in ("requests0", "requests1"):
        metric = series[id_]["metric_stat"]["metric"]
        group = next(one["value"] for one in metric["dimensions"] if one["name"] == "TargetGroup")
        resource = services.follow(group)
        assert resource is not None
        groups.add(resource["name"])
    assert groups == {"mr-api-blue-t1", "mr-api-green-t1"}
    assert series["per_task"]["expression"] == "(FILL(requests0, 0) + FILL(requests1, 0)) / running"
    assert [one["id"] for one in series.values() if one["return_data"]] == ["per_task"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_at_the_edges_throttle_all_tasks_of_the_api_run(built: Build, name: str) -> None:
    from millrace_infra.settings import load

    settings = load(name, SUFFIX, folder=FOLDER).settings
    policy = built(name).at("api-scaling/policy")["target_tracking_scaling_policy_configuration"]
    all_of_them = policy["target_value"] * built(name).at("api-scaling/target")["max_capacity"]
    assert all_of_them == pytest.approx(settings.edge.requests_per_s * 60)
