"""The rotations in the synthesized program: who is rotated, by what, and what that may do."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from millrace import names
from tests.infra.conftest import ENVIRONMENTS, SUFFIX
from tests.infra.program import Program, Resource
from tests.infra.rotation.conftest import PLAN, Rotations

ROTATED = ("database-user", "api-signing", "api-keys")
AGE = "secret-age"
UNOWNED = {
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
    "xray:PutTelemetryRecords", "xray:PutTraceSegments",
}  # fmt: skip
"""Actions that AWS offers for no resource by name."""


@pytest.fixture(params=ENVIRONMENTS)
def program(request: pytest.FixtureRequest, rotations: Rotations) -> Program:
    return rotations(request.param)


def function(program: Program, noun: str) -> Resource:
    return program.at(f"rotation/{noun}/function")


def grants(program: Program, noun: str) -> list[dict[str, Any]]:
    roles = [one for one in program.of("aws_iam_role_policy") if f"rotation/{noun}/role/" in one.path]
    return [statement for one in roles for statement in one.statements()]


@pytest.mark.requirement("S-11")
def test_each_rotated_secret_has_its_rotation_which_waits_for_the_database(program: Program) -> None:
    rotations = program.of("aws_secretsmanager_secret_rotation")
    assert {one.path.split("/")[1] for one in rotations} == set(ROTATED)
    for one in rotations:
        noun = one.path.split("/")[1]
        assert one["rotate_immediately"] is False
        assert one["rotation_rules"] == {"automatically_after_days": 30}
        assert f"secrets_{noun}_" in one["secret_id"]
        called = program.follow(one["rotation_lambda_arn"])
        assert called is not None
        assert called["function_name"] == f"millrace-rotate-{noun}-{SUFFIX}"
        waits = " ".join(one["depends_on"])
        assert "aws_lambda_permission" in waits
        assert "aws_iam_role_policy" in waits


@pytest.mark.requirement("S-11")
def test_only_secrets_manager_calls_a_function_and_only_for_its_secret(program: Program) -> None:
    permissions = {one.path.split("/")[1]: one for one in program.of("aws_lambda_permission")}
    assert set(permissions) - {AGE} == set(ROTATED)
    for noun in ROTATED:
        one = permissions[noun]
        rotation = program.at(f"rotation/{noun}/rotation")
        assert one["principal"] == "secretsmanager.amazonaws.com"
        assert one["source_account"] == "123456789012"
        assert one["source_arn"] == rotation["secret_id"]
        assert one["action"] == "lambda:InvokeFunction"


@pytest.mark.requirement("S-11")
@pytest.mark.requirement("S-05")
def test_a_function_is_encrypted_bounded_traced_and_logs_to_our_group(program: Program) -> None:
    for noun in (*ROTATED, AGE):
        one = function(program, noun)
        assert one["architectures"] == ["arm64"]
        assert one["runtime"] == "python3.13"
        assert one["reserved_concurrent_executions"] == 1
        assert one["tracing_config"] == {"mode": "Active"}
        key = program.follow(one["kms_key_arn"])
        assert key is not None
        assert key.path == "keys/functions/key"
        group = program.follow(one["logging_config"]["log_group"])
        assert group is not None
        assert group["name"] == f"/millrace/rotation-{SUFFIX}"
        queue = program.follow(one["dead_letter_config"]["target_arn"])
        assert queue is not None
        assert program.follow(queue["kms_master_key_id"]) is not None


@pytest.mark.requirement("S-11")
def test_a_function_stands_in_private_subnets_with_the_group_of_rotations(program: Program) -> None:
    for noun in (*ROTATED, AGE):
        vpc = function(program, noun)["vpc_config"]
        group = program.follow(vpc["security_group_ids"][0])
        assert group is not None
        assert "rotation" in group.path
        subnets = [program.follow(one) for one in vpc["subnet_ids"]]
        assert len(subnets) >= 2
        assert all(one is not None and "private" in one.path for one in subnets)


@pytest.mark.requirement("S-11")
def test_without_a_way_out_only_the_keys_function_is_outside_of_the_network(rotations: Rotations) -> None:
    program = rotations("dev", "endpoints")
    inside = [noun for noun in (*ROTATED, AGE) if function(program, noun).get("vpc_config")]
    assert inside == [*ROTATED[:2], AGE]
    actions = {action for one in grants(program, "api-keys") for action in one["Action"]}
    assert not any(action.startswith("ec2:") for action in actions)


@pytest.mark.requirement("S-11")
def test_the_zip_lies_where_terraform_looks_for_it_with_the_hash_that_lambda_reports(
    program: Program,
) -> None:
    for noun in (*ROTATED, AGE):
        one = function(program, noun)
        assert not Path(one["filename"]).is_absolute()
        content = (Path(program.json["folder"]) / one["filename"]).read_bytes()
        assert one["source_code_hash"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert one["handler"] == f"millrace_rotation.{noun.replace('-', '_')}.handler"


@pytest.mark.requirement("S-11")
@pytest.mark.requirement("S-13")
def test_a_function_writes_one_secret_and_no_other(program: Program) -> None:
    for noun in ROTATED:
        own = program.at(f"rotation/{noun}/rotation")["secret_id"]
        reads: set[str] = set()
        opened: set[str] = set()
        for one in grants(program, noun):
            actions = set(one["Action"])
            if {"secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"} & actions:
                assert one["Resource"] == [own]
            if "secretsmanager:GetSecretValue" in actions:
                reads |= set(one["Resource"])
            if any(resource.endswith(":key/*") for resource in one["Resource"]):
                # whose key it is is not known here, so the secret that it is used for bounds it
                condition = one["Condition"]["StringEquals"]
                assert condition["kms:ViaService"].startswith("secretsmanager.")
                opened |= set(condition["kms:EncryptionContext:SecretARN"])
                if "kms:GenerateDataKey" in actions:
                    assert condition["kms:EncryptionContext:SecretARN"] == [own]
        assert opened == reads
        others = reads - {own}
        assert len(others) == (1 if noun == "database-user" else 0)
        assert all("database-master" in one for one in others)


@pytest.mark.requirement("S-13")
def test_what_is_allowed_on_all_is_what_aws_names_no_resource_for(program: Program) -> None:
    for noun in ROTATED:
        for one in grants(program, noun):
            assert not any("*" in action for action in one["Action"])
            if "*" in one["Resource"]:
                assert set(one["Action"]) <= UNOWNED


@pytest.mark.requirement("S-13")
def test_a_functions_own_code_may_not_touch_network_interfaces(program: Program) -> None:
    for noun in (*ROTATED, AGE):
        allowed, denied = (
            [
                one
                for one in grants(program, noun)
                if one["Effect"] == effect and one["Action"][0].startswith("ec2:")
            ]
            for effect in ("Allow", "Deny")
        )
        assert [one["Action"] for one in allowed] == [one["Action"] for one in denied]
        arn = denied[0]["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]
        assert arn.endswith(f":123456789012:function:{function(program, noun)['function_name']}")


@pytest.mark.requirement("S-13")
def test_only_keys_of_this_suffix_are_made_read_and_deleted(program: Program) -> None:
    found = [one for one in grants(program, "api-keys") if one["Action"][0].startswith("apigateway:")]
    wanted = {"project": "millrace", "suffix": SUFFIX}
    for one in found:
        (resource,) = one["Resource"]
        conditions = one.get("Condition", {}).get("StringEquals", {})
        tags = {key.rpartition("/")[2]: value for key, value in conditions.items()}
        if resource.endswith(("/apikeys/*", "/tags/*")) or one["Action"] == ["apigateway:POST"]:
            assert tags == wanted, resource
        elif "/usageplans/" in resource:
            assert f"/usageplans/{PLAN}/keys" in resource
        else:
            assert one["Action"] == ["apigateway:GET"]
    for noun in ROTATED[:2]:
        assert not any(
            action.startswith("apigateway:") for one in grants(program, noun) for action in one["Action"]
        )


@pytest.mark.requirement("S-11")
def test_a_function_is_told_where_things_are_and_no_value(program: Program) -> None:
    told = {noun: function(program, noun)["environment"]["variables"] for noun in ROTATED}
    assert set(told["database-user"]) == {
        names.ENV_DATABASE_HOST, names.ENV_DATABASE_NAME, names.ENV_SECRET_DATABASE_MASTER,
        names.ENV_SECRET_DATABASE_USER,
    }  # fmt: skip
    assert set(told["api-signing"]) == {names.ENV_SECRET_API_SIGNING}
    assert set(told["api-keys"]) == {
        names.ENV_SECRET_API_KEYS, names.ENV_USAGE_PLAN_ID, names.ENV_SUFFIX, names.ENV_TAGS,
    }  # fmt: skip
    tags = json.loads(told["api-keys"][names.ENV_TAGS])
    common = program.json["provider"]["aws"][0]["default_tags"][0]["tags"]
    assert tags == common


@pytest.mark.requirement("S-11")
def test_no_key_of_integrations_is_a_resource(program: Program) -> None:
    assert program.of("aws_api_gateway_api_key", "aws_api_gateway_usage_plan_key") == []


@pytest.mark.requirement("S-01")
def test_every_name_ends_in_the_suffix_and_no_block_is_empty(program: Program) -> None:
    ours = [one for one in program if one.path.startswith("rotation/")]
    assert len(ours) > 20
    for one in ours:
        for key in ("function_name", "name"):
            if one.type != "aws_iam_role_policy" and isinstance(one.get(key), str) and "${" not in one[key]:
                assert one[key].endswith(f"-{SUFFIX}")
        assert not [key for key, value in one.body.items() if value in ({}, [{}])]


@pytest.mark.requirement("S-11")
def test_the_platform_has_the_rotations_and_says_what_is_to_be_rotated_first(platform: Program) -> None:
    rotated = {one["secret_id"] for one in platform.of("aws_secretsmanager_secret_rotation")}
    assert set(platform.json["output"]["rotated_secret_arns"]["value"]) == rotated
    assert len(rotated) == len(ROTATED)
    assert platform.json["output"]["database_cluster"]["value"]
    alarms = platform.of("aws_cloudwatch_metric_alarm")
    watched = {one.get("dimensions", {}).get("FunctionName") for one in alarms}
    assert {f"millrace-rotate-{noun}-{SUFFIX}" for noun in ROTATED} | {f"millrace-{AGE}-{SUFFIX}"} <= watched
