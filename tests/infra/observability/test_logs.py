"""Promises about log groups."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from millrace_infra.settings import load
from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.program import Program


@pytest.mark.requirement("S-12")
def test_every_log_group_has_our_key_an_end_and_our_suffix(platform: Program) -> None:
    found = platform.of("aws_cloudwatch_log_group")
    assert found
    for group in found:
        key = platform.follow(group["kms_key_id"])
        assert key is not None
        assert key.path == "keys/logs/key", group.path
        assert group["retention_in_days"] >= 30, group.path
        assert SUFFIX in re.split(r"[-/_]", group["name"]), group.path
        assert not group.get("skip_destroy"), group.path


@pytest.mark.requirement("S-12")
@pytest.mark.requirement("S-23")
def test_a_group_that_a_service_would_make_for_itself_is_there_before_it(platform: Program) -> None:
    """Its own would have no key of ours, and no end. Source: CloudWatch, ECS performance log events; API Gateway,
    CloudWatch log formats."""
    groups = {group["name"]: group.address for group in platform.of("aws_cloudwatch_log_group")}
    (cluster,), (stage,) = platform.of("aws_ecs_cluster"), platform.of("aws_api_gateway_stage")
    assert groups[f"/aws/ecs/containerinsights/{cluster['name']}/performance"] in cluster["depends_on"]
    execution = f"API-Gateway-Execution-Logs_{stage['rest_api_id']}/{stage['stage_name']}"
    assert groups[execution] in stage["depends_on"]


@pytest.mark.requirement("S-12")
def test_the_key_of_the_logs_knows_every_log_group(platform: Program) -> None:
    """Or AWS refuses to make the group: the policy names groups by the context they are encrypted in."""
    statements = json.loads(platform.at("keys/logs/key")["policy"])["Statement"]
    conditions = [one["Condition"]["ArnLike"] for one in statements if "ArnLike" in one.get("Condition", {})]
    known = [one["kms:EncryptionContext:aws:logs:arn"] for one in conditions]
    patterns = [text for one in known for text in ([one] if isinstance(one, str) else one)]
    names = [group["name"] for group in platform.of("aws_cloudwatch_log_group")]
    prefix = patterns[0].partition("log-group:")[0]
    arns = [f"{prefix}log-group:{name}" for name in names]
    assert [arn for arn in arns if not any(fnmatchcase(arn, pattern) for pattern in patterns)] == []


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_noun_has_one_group_and_the_name_that_its_writer_demands(tmp_path: Path, name: str) -> None:
    pytest.importorskip("constructs")
    from millrace_infra.observability.logs import Logs
    from millrace_infra.security import Keys
    from millrace_infra.stack import Stack
    from millrace_infra.terraform import App

    environment = load(name, SUFFIX, folder=FOLDER)
    app = App(outdir=str(tmp_path))
    stack = Stack(app, "logs", environment, tags=environment.tags)
    logs = Logs(
        stack, "logs", environment=environment, key=Keys(stack, "keys", environment=environment)["logs"]
    )
    assert logs.group("worker") is logs.group("worker")
    logs.group("waf")
    app.synth()
    program = Program("logs", (tmp_path / "stacks" / "logs" / "cdk.tf.json").read_text())
    names = {group["name"]: group["retention_in_days"] for group in program.of("aws_cloudwatch_log_group")}
    days = environment.settings.log_days
    assert names == {f"/millrace/worker-{SUFFIX}": days, f"aws-waf-logs-millrace-{SUFFIX}": days}
