"""Tasks start when they can work: `deploy` starts them, once the database is migrated and the secrets are rotated."""

from __future__ import annotations

import pytest

from tests.infra.program import Program

SERVICES = ("worker", "api", "dashboard")


@pytest.mark.requirement("S-22")
def test_terraform_makes_a_service_without_tasks_and_says_how_many_deploy_starts(platform: Program) -> None:
    for service in SERVICES:
        made = platform.at(f"{service}/service")
        assert made["desired_count"] == 0, service
        assert "desired_count" in made["lifecycle"]["ignore_changes"], "the next plan would end what runs"
        least = platform.at(f"{service}-scaling/target")["min_capacity"]
        assert platform.json["output"][f"{service}_tasks_min"]["value"] == least > 0


@pytest.mark.requirement("S-22")
def test_no_alarm_of_scaling_starts_a_task_while_none_runs(platform: Program) -> None:
    """A rule that adds workers wants figures: silence, and a division by no task, move nothing."""
    alarms = [
        one for one in platform.of("aws_cloudwatch_metric_alarm") if one.path.startswith("worker-scaling/")
    ]
    assert len(alarms) == 3
    for alarm in alarms:
        assert alarm["treat_missing_data"] == "notBreaching", alarm.path
    (by_bytes,) = [one for one in alarms if one.path.endswith("/bytes-alarm")]
    assert any(query.get("expression", "").endswith("/ running") for query in by_bytes["metric_query"])
