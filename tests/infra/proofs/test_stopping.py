"""Which alarms stop a deployment: those of the platform itself, made before what names them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.program import Program

STOPS = {
    "api": {"gateway-errors", "target-errors-api-blue", "target-errors-api-green"},
    "dashboard": {"target-errors-dashboard-blue", "target-errors-dashboard-green"},
    "worker": {
        "latency-visible", "stream-behind", "worker-silent", "store-away-archive", "store-away-postgres",
        "store-away-redis",
    },
}  # fmt: skip


def named(program: Program) -> Iterator[tuple[str, list[str]]]:
    """(service, references to the alarms that stop its deployment)"""
    for service in ("api", "dashboard"):
        said = program.at(f"deployment/{service}")["alarm_configuration"]
        assert said["enabled"] is True
        assert said["ignore_poll_alarm_failure"] is False, "alarms that cannot be read stop it too"
        yield service, said["alarms"]
    said = program.at("worker/service")["alarms"]
    assert said["enable"] is True
    assert said["rollback"] is True
    yield "worker", said["alarm_names"]


@pytest.mark.requirement("S-22")
def test_a_deployment_of_the_platform_is_stopped_by_the_alarms_of_its_service(platform: Program) -> None:
    for service, references in named(platform):
        alarms = [platform.follow(one) for one in references]
        assert {one.path for one in alarms if one is not None} == {
            f"observability/alarms/{noun}" for noun in STOPS[service]
        }
        assert len(alarms) == len(STOPS[service])
