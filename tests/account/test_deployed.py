"""What only a deployed platform can show: it answers, its services are steady, its stream takes a record.

Runs after `make deploy`, from cfn-outputs/flat-outputs.json and with the credentials of the shell; skipped without.
"""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

OUTPUTS = Path("cfn-outputs") / "flat-outputs.json"
pytestmark = [pytest.mark.account, pytest.mark.requirement("S-25")]


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    if not OUTPUTS.exists():
        pytest.skip(f"nothing is deployed from here: {OUTPUTS} is not there (make deploy, make outputs)")
    found: dict[str, Any] = json.loads(OUTPUTS.read_text())
    return found


def client(service: str) -> Any:
    import boto3

    if not os.environ.get("AWS_REGION"):
        pytest.skip("AWS_REGION names the region of the deployment")
    return boto3.client(service, region_name=os.environ["AWS_REGION"])


def test_the_api_answers_through_the_only_door(outputs: dict[str, Any]) -> None:
    with urllib.request.urlopen(f"{outputs['api_url']}/v1/health/live", timeout=10) as answer:
        assert answer.status == 200


def test_every_service_runs_as_many_tasks_as_it_wants(outputs: dict[str, Any]) -> None:
    names = [outputs[f"{service}_service_name"] for service in ("worker", "api", "dashboard")]
    found = client("ecs").describe_services(cluster=outputs["cluster_name"], services=names)["services"]
    assert len(found) == len(names)
    for service in found:
        assert service["status"] == "ACTIVE"
        assert service["runningCount"] == service["desiredCount"] > 0, service["serviceName"]


def test_the_stream_is_active_and_encrypted(outputs: dict[str, Any]) -> None:
    stream = client("kinesis").describe_stream_summary(StreamName=outputs["stream_name"])
    summary = stream["StreamDescriptionSummary"]
    assert summary["StreamStatus"] == "ACTIVE"
    assert summary["EncryptionType"] == "KMS"
    assert summary["ConsumerCount"] >= 1
