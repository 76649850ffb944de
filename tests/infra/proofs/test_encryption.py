"""What can be under a key is under one of ours; the provider's schema says what can.

The stores' own tests say which key and for what. This one asks the other way round: no kind that takes a key may
come into the program without one, and whoever adds an exception writes down who forces it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.program import Program
from tests.infra.proofs.conftest import OF_A_SUFFIX, Stacks
from tests.infra.proofs.provider import KEYED

UNUSED = {
    "aws_dynamodb_table replica.kms_key_arn": "no replica in another region",
    "aws_ecs_cluster configuration.managed_storage_configuration.kms_key_id": "for EBS volumes; Fargate's has its own",
    "aws_ecs_service service_connect_configuration.service.tls.kms_key": "services call each other by load balancer",
    "aws_ecs_service volume_configuration.managed_ebs_volume.kms_key_id": "no EBS volume",
    "aws_rds_cluster master_user_secret_kms_key_id": "the master password is an existing secret, none that RDS makes",
    "aws_rds_cluster performance_insights_kms_key_id": "each instance of the cluster has it",
    "aws_s3_bucket replication_configuration.rules.destination.replica_kms_key_id": "a resource of its own",
    "aws_s3_bucket server_side_encryption_configuration.rule.apply_server_side_encryption_by_default"
    ".kms_master_key_id": "a resource of its own",
}
"""Places for a key that nothing of ours needs. A row whose place gets a key is an error."""
FORCED = {
    # Elastic Load Balancing user guide, "Enable access logs for your Application Load Balancer":
    # the bucket takes Amazon S3-managed keys (SSE-S3), the only option that is supported
    "entry/access-log": "aws_lb",
    # Amazon S3 user guide, "Enabling Amazon S3 server access logging":
    # default encryption of the destination bucket must be SSE-S3
    "archive/access-log": "aws_s3_bucket_logging",
}
"""Bucket that AWS wants under its own key -> the kind of resource that forces it."""


def values_at(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from values_at(inner, path)
    elif isinstance(value, dict) and value.get(path[0]) is not None:
        yield from values_at(value[path[0]], path[1:])


def keys_of(program: Program) -> Iterator[tuple[str, str, list[Any]]]:
    """(construct path, "kind attribute", what stands there) of every place for a key."""
    for resource in program:
        for place in KEYED.get(resource.type, ()):
            yield (
                resource.path,
                f"{resource.type} {place}",
                list(values_at(dict(resource.body), place.split("."))),
            )


def is_ours(program: Program, value: str) -> bool:
    found = program.follow(value)
    if found is not None and found.type == "aws_cloudwatch_log_group":  # the key of a log group of ours
        return is_ours(program, found["kms_key_id"])
    return found is not None and found.type == "aws_kms_key"


@pytest.mark.requirement("S-12")
def test_what_can_be_under_a_key_is_under_one_of_ours(stack: Program) -> None:
    for path, place, values in keys_of(stack):
        if place in UNUSED or path.removesuffix("/encryption") in FORCED:
            assert not values, f"{path}: {place} has a key: take its row away"
        else:
            assert values, f"{path}: {place}"
            assert all(is_ours(stack, value) for value in values), f"{path}: {place}"


@pytest.mark.requirement("S-12")
def test_a_bucket_under_aws_s_key_is_one_that_aws_forces(stack: Program) -> None:
    encryptions = stack.of("aws_s3_bucket_server_side_encryption_configuration")
    managed = {
        one.path.removesuffix("/encryption") for one in encryptions
        if one["rule"][0]["apply_server_side_encryption_by_default"]["sse_algorithm"] != "aws:kms"
    }  # fmt: skip
    assert managed == {bucket for bucket, cause in FORCED.items() if stack.of(cause)}
    assert len(encryptions) == len(stack.of("aws_s3_bucket"))


@pytest.mark.requirement("S-12")
def test_every_key_turns_by_itself_and_speaks_to_this_account_alone(stack: Program) -> None:
    for key in stack.of("aws_kms_key"):
        assert key["enable_key_rotation"] is True, key.path
        for statement in key.statements():
            principal = statement["Principal"]
            assert principal != "*", key.path
            assert principal.get("AWS", "arn:aws:iam::123456789012:root") == "arn:aws:iam::123456789012:root"
            assert "Condition" in statement or statement["Action"][0] == "kms:Create*", key.path


@pytest.mark.requirement("S-12")
def test_no_exception_outlives_its_cause(stacks: Stacks) -> None:
    programs = [stacks("us-east-1", kind) for kind in OF_A_SUFFIX]
    places = {place for program in programs for _, place, _ in keys_of(program)}
    assert places >= set(UNUSED)
    assert all(program.of(cause) for cause in FORCED.values() for program in programs[:1])


PURPOSES = {
    "aurora/log": "keys/logs", "logs/": "keys/logs", "aurora/": "keys/database", "backup/": "keys/backup",
    "stream/": "keys/stream", "shared-storage/": "keys/storage", "redis/": "keys/cache",
    "archive/": "keys/archive", "observability/": "keys/alarms", "rotation/undelivered": "keys/alarms",
    "rotation/": "keys/functions", "cluster/": "cluster/scratch-key",
}  # fmt: skip
"""Where a construct's path begins -> its key; the first that fits."""


@pytest.mark.requirement("S-12")
def test_each_thing_is_under_the_key_of_its_purpose(platform: Program) -> None:
    """Another one's policy names other services and other roles: what is under it cannot be read, or by too many."""
    used = set()
    for path, place, values in keys_of(platform):
        for key in (platform.follow(value) for value in values):
            if key is not None and key.type == "aws_kms_key":
                wanted = next(purpose for begin, purpose in PURPOSES.items() if path.startswith(begin))
                assert key.path == f"{wanted}/key", f"{path}: {place}"
                used.add(wanted)
    assert used == set(PURPOSES.values())
