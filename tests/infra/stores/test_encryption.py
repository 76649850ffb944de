"""Every store and log is under a customer key, except where AWS allows none: that list is exact."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.program import Program, Resource

ENCRYPTED_BY = {
    "aws_backup_vault": ("kms_key_arn",),
    "aws_cloudwatch_log_group": ("kms_key_id",),
    "aws_dynamodb_table": ("server_side_encryption", "kms_key_arn"),
    "aws_efs_file_system": ("kms_key_id",),
    "aws_elasticache_replication_group": ("kms_key_id",),
    "aws_kinesis_stream": ("kms_key_id",),
    "aws_lambda_function": ("kms_key_arn",),
    "aws_rds_cluster": ("kms_key_id",),
    "aws_rds_cluster_instance": ("performance_insights_kms_key_id",),
    "aws_sns_topic": ("kms_master_key_id",),
    "aws_sqs_queue": ("kms_master_key_id",),
}
"""Kind of store -> where it names its key. Buckets have a resource of their own for it."""

SWITCH = {"aws_efs_file_system": "encrypted", "aws_rds_cluster": "storage_encrypted"}
"""A key without its switch encrypts nothing."""

WITHOUT_A_KEY = {
    # S3 delivers no access log to a bucket whose default is SSE-KMS.
    # Source: Amazon S3 user guide, "Enabling Amazon S3 server access logging".
    "archive-log": "aws_s3_bucket_logging",
    # A load balancer writes its log with Amazon S3 managed keys only.
    # Source: Elastic Load Balancing, "Enable access logs for your Application Load Balancer".
    "alb-log": "aws_lb",
}
"""Bucket that AWS wants under SSE-S3 -> the resource that forces it."""

HOLD_NOTHING_THEMSELVES = {
    "aws_ecs_task_definition",  # its scratch disk is under the cluster's key for Fargate
    "aws_efs_access_point",  # a door of the file system
    "aws_kms_key",
    "aws_s3_bucket",  # judged by its encryption resource
}


def key_of(resource: Resource, path: tuple[str, ...]) -> Any:
    value: Any = resource.body
    for step in path:
        value = value[step]
    return value


@pytest.mark.requirement("S-12")
def test_every_store_and_log_is_under_a_customer_key(platform: Program) -> None:
    for resource in platform.of(*ENCRYPTED_BY):
        key = platform.follow(key_of(resource, ENCRYPTED_BY[resource.type]))
        assert key is not None, resource.path
        assert key.type == "aws_kms_key", resource.path


@pytest.mark.requirement("S-12")
def test_encryption_is_switched_on_where_a_key_alone_does_nothing(platform: Program) -> None:
    for resource in platform.of(*SWITCH):
        assert resource[SWITCH[resource.type]] is True
    for table in platform.of("aws_dynamodb_table"):
        assert table["server_side_encryption"]["enabled"] is True


@pytest.mark.requirement("S-12")
def test_every_bucket_is_under_a_customer_key_but_the_listed_ones(platform: Program) -> None:
    managed = set()
    encryptions = platform.of("aws_s3_bucket_server_side_encryption_configuration")
    for resource in encryptions:
        (rule,) = resource["rule"]
        method = rule["apply_server_side_encryption_by_default"]
        bucket = platform.follow(resource["bucket"])
        assert bucket is not None
        if method["sse_algorithm"] == "AES256":
            managed.add(str(bucket["bucket"]).removeprefix("millrace-").rsplit("-123456789012-", 1)[0])
        else:
            assert method["sse_algorithm"] == "aws:kms"
            key = platform.follow(method["kms_master_key_id"])
            assert key is not None
            assert key.type == "aws_kms_key"
    assert managed == {bucket for bucket, cause in WITHOUT_A_KEY.items() if platform.of(cause)}
    assert len(encryptions) == len(platform.of("aws_s3_bucket"))


@pytest.mark.requirement("S-12")
def test_whatever_says_that_it_holds_data_is_in_this_table(platform: Program) -> None:
    holders = {resource.type for resource in platform if "data-class" in (resource.get("tags") or {})}
    assert holders <= set(ENCRYPTED_BY) | HOLD_NOTHING_THEMSELVES


@pytest.mark.requirement("S-12")
def test_one_key_never_serves_two_stores(platform: Program) -> None:
    """A key that is lost or misused takes one store with it."""
    stores = (
        "aws_dynamodb_table",
        "aws_efs_file_system",
        "aws_elasticache_replication_group",
        "aws_rds_cluster",
    )
    keys = [
        platform.follow(key_of(resource, ENCRYPTED_BY[resource.type])) for resource in platform.of(*stores)
    ]
    paths = [key.path for key in keys if key is not None]
    assert len(paths) == len(set(paths)) == len(stores)
