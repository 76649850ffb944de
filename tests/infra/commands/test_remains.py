"""What Terraform cannot remove, destroy removes; what is left is listed with its date."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_infra.commands.destroy import closing
from millrace_infra.records_export import faults
from millrace_infra.remains import (
    LOGS,
    LOOKS_MAX,
    SHARED_LOG_GROUPS,
    TASKS,
    Left,
    is_our_log_group,
    remaining,
    remove_api_keys,
    remove_what_terraform_leaves,
    settled,
    shared,
)
from millrace_infra.settings import Environment
from tests.infra.program import Program

Clients = Callable[[str], Any]
GROUPS = (
    "/millrace/api-{}", "aws-waf-logs-millrace-{}", "/aws/rds/cluster/millrace-aurora-{}/postgresql",
    "/aws/ecs/containerinsights/millrace-cluster-{}/performance", "API-Gateway-Execution-Logs_a1b2c3/millrace-stage-{}",
)  # fmt: skip
"""Of a suffix: ours, and AWS's own for what is ours."""
pytestmark = pytest.mark.requirement("S-04")


def test_keys_of_the_rotation_go_and_a_neighbours_stay(environment: Environment, client: Clients) -> None:
    gateway = client("apigateway")
    for name, suffix in (("ours", "t1"), ("theirs", "t2")):
        gateway.create_api_key(name=name, enabled=True, tags={"project": "millrace", "suffix": suffix})
    assert remove_api_keys(environment, client) == ["ours"]
    assert [key["name"] for key in gateway.get_api_keys()["items"]] == ["theirs"]


def test_late_log_groups_and_former_revisions_go_and_a_neighbours_stay(
    environment: Environment, client: Clients
) -> None:
    """A neighbour's suffix may end as ours does."""
    logs, ecs = client("logs"), client("ecs")
    for suffix in ("t1", "t2", "a-t1"):
        for name in GROUPS:
            logs.create_log_group(logGroupName=name.format(suffix))
        for _ in range(2):
            container = {"name": "api", "image": "i", "memory": 512}
            ecs.register_task_definition(family=f"millrace-api-{suffix}", containerDefinitions=[container])
    remove_what_terraform_leaves(environment, client)
    left = [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
    assert sorted(left) == sorted(name.format(suffix) for suffix in ("t2", "a-t1") for name in GROUPS)
    kept = [arn.rpartition("/")[2] for arn in ecs.list_task_definitions()["taskDefinitionArns"]]
    assert sorted(kept) == [
        "millrace-api-a-t1:1",
        "millrace-api-a-t1:2",
        "millrace-api-t2:1",
        "millrace-api-t2:2",
    ]


def test_the_names_that_are_removed_are_those_that_the_program_makes(
    platform: Program, environment: Environment
) -> None:
    groups = {one["name"] for one in platform.of("aws_cloudwatch_log_group")}
    assert all(is_our_log_group(environment, name) for name in groups)
    assert {f"/millrace/{noun}-t1" for noun in LOGS} <= groups, "a noun that has no log group"
    families = {one["family"] for one in platform.of("aws_ecs_task_definition")}
    assert families == {environment.names.of(service) for service in TASKS}
    (cluster,), (stage,) = platform.of("aws_ecs_cluster"), platform.of("aws_api_gateway_stage")
    assert is_our_log_group(environment, f"/aws/ecs/containerinsights/{cluster['name']}/performance")
    assert is_our_log_group(environment, f"API-Gateway-Execution-Logs_a1b2c3/{stage['stage_name']}")


def test_what_the_account_has_once_is_an_exact_list(environment: Environment, client: Clients) -> None:
    from millrace_infra.account import SERVICE_LINKED

    logs, before = client("logs"), dict(shared(environment, client))
    assert not any(one.startswith("log group ") for one in before), "nobody writes there yet"
    for name in SHARED_LOG_GROUPS:
        logs.create_log_group(logGroupName=name)
    bucket, iam = "s3://millrace-state-123456789012-eu-central-1", "arn:aws:iam::123456789012"
    assert {what for what, _ in shared(environment, client)} == {
        "log group RDSOSMetrics", "log group /aws/apigateway/welcome", "stack millrace-account",
        f"state {bucket}/millrace-t1/terraform.tfstate", f"state {bucket}/millrace-registry-t1/terraform.tfstate",
        f"{iam}:oidc-provider/token.actions.githubusercontent.com",
        *(f"{iam}:role/aws-service-role/{service}/{role}" for service, role in SERVICE_LINKED.values()),
    }  # fmt: skip
    for name in SHARED_LOG_GROUPS:
        assert not is_our_log_group(environment, name)
        logs.delete_log_group(logGroupName=name)


def test_what_is_left_is_named_and_a_key_with_the_day_on_which_it_goes(
    environment: Environment, client: Clients
) -> None:
    kms, sqs = client("kms"), client("sqs")
    tags = {"project": "millrace", "suffix": "t1", "environment": "dev"}
    listed = [{"TagKey": key, "TagValue": value} for key, value in tags.items()]
    key = kms.create_key(Tags=listed)["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    sqs.create_queue(QueueName="forgotten", tags=tags)
    sqs.create_queue(QueueName="neighbours", tags=tags | {"suffix": "t2"})
    left = {one.arn.rpartition(":")[2]: one.until for one in remaining(environment, client)}
    assert set(left) == {f"key/{key}", "forgotten"}
    assert left[f"key/{key}"].startswith("20")
    assert left["forgotten"] == ""


def test_a_role_that_is_left_is_named_and_a_neighbours_is_not(environment: Environment, client: Clients) -> None:
    iam = client("iam")
    ours, theirs = (dataclasses.replace(environment, suffix=suffix) for suffix in ("roles", "r2"))
    names = [*(one.names.in_account("api-task") for one in (ours, theirs)), "their-roles"]
    for name in names:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    try:
        assert [one.arn.rpartition("/")[2] for one in remaining(ours, client)] == [names[0]]
    finally:
        for name in names:
            iam.delete_role(RoleName=name)


def test_what_its_own_service_calls_deleted_is_not_left(environment: Environment, client: Clients) -> None:
    """AWS lists it by its tags for an hour and longer; what lives is named."""
    ec2, ecs = client("ec2"), client("ecs")
    tags = {"project": "millrace", "suffix": "gone", "environment": "dev"}
    upper = [{"Key": key, "Value": value} for key, value in tags.items()]
    lower = [{"key": key, "value": value} for key, value in tags.items()]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    nat = ec2.create_nat_gateway(
        SubnetId=subnet, ConnectivityType="private",
        TagSpecifications=[{"ResourceType": "natgateway", "Tags": upper}],
    )["NatGateway"]["NatGatewayId"]  # fmt: skip
    ecs.create_cluster(clusterName="gone", tags=lower)
    container = {"name": "w", "image": "i", "memory": 512}
    definition = ecs.register_task_definition(family="gone", containerDefinitions=[container])
    ecs.create_service(
        cluster="gone", serviceName="w", desiredCount=0, tags=lower,
        taskDefinition=definition["taskDefinition"]["taskDefinitionArn"],
    )  # fmt: skip
    ours = dataclasses.replace(environment, suffix="gone")
    names = {f"natgateway/{nat}", "cluster/gone", "service/gone/w"}
    assert {one.arn.rpartition(":")[2] for one in remaining(ours, client)} == names
    ecs.delete_service(cluster="gone", service="w")
    assert {one.arn.rpartition(":")[2] for one in remaining(ours, client)} == names - {"service/gone/w"}
    ecs.delete_cluster(cluster="gone")
    assert {one.arn.rpartition(":")[2] for one in remaining(ours, client)} == {f"natgateway/{nat}"}
    ec2.delete_nat_gateway(NatGatewayId=nat)
    assert remaining(ours, client) == []
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


@pytest.mark.parametrize(("gone_after", "looks", "left"), [(0, 1, 0), (3, 4, 0), (99, LOOKS_MAX, 1)])
def test_what_aws_still_lists_a_while_is_not_said_to_be_left(
    environment: Environment, gone_after: int, looks: int, left: int
) -> None:
    class Tagged:
        seen = 0

        def get_paginator(self, _: str) -> Tagged:
            return self

        def paginate(self, **asked: Any) -> list[dict[str, Any]]:
            if not asked:
                return [{"Roles": []}]
            self.seen += 1
            there = self.seen <= gone_after
            return [{"ResourceTagMappingList": [{"ResourceARN": "arn:aws:sqs:r:1:late"}] * there}]

    slept: list[float] = []
    tagged = Tagged()
    assert len(settled(environment, lambda _: tagged, slept.append)) == left
    assert (tagged.seen, len(slept)) == (looks, looks - 1)


def test_destroy_ends_with_keys_and_their_days_and_what_the_account_has_once() -> None:
    left = [Left("arn:aws:kms:r:1:key/k", "2026-01-12"), Left("arn:aws:sqs:r:1:forgotten")]
    assert list(closing(left, [("log group RDSOSMetrics", "of all")])) == [
        "left: arn:aws:kms:r:1:key/k, deleted by AWS on 2026-01-12",
        "left: arn:aws:sqs:r:1:forgotten, which should be gone",
        "stays with the account: log group RDSOSMetrics (of all)",
    ]


@pytest.mark.requirement("S-20")
def test_a_copy_of_the_archive_is_whole_or_its_faults_are_named(client: Clients, tmp_path: Path) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="archive", VersioningConfiguration={"Status": "Enabled"})
    for key, body in {"critical/a": b"one", "critical/b": b"two", "critical/c": b"three"}.items():
        s3.put_object(Bucket="archive", Key=key, Body=body, ChecksumAlgorithm="SHA256")
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(body)
    assert list(faults(s3, "archive", tmp_path, former=True)) == []
    (tmp_path / "critical/a").unlink()
    (tmp_path / "critical/b").write_bytes(b"longer")
    (tmp_path / "critical/c").write_bytes(b"eerht")
    assert [one.partition(":")[0] for one in faults(s3, "archive", tmp_path, former=True)] == [
        "critical/a", "critical/b", "critical/c",
    ]  # fmt: skip
