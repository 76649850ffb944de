"""Which of AWS's services have an end point in the VPC, and which calls it lets through.

The end points are a perimeter: only roles of this account, and only resources of this account. A role's own
policy is narrower; an action that a role of ours gets and that is missing here fails a test, not a deployment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from millrace_infra.policy import Condition, Statement

_ANYBODY: Final = {"AWS": "*"}


@dataclass(frozen=True)
class Service:
    """`on_ours`: actions on a resource, which must be in this account. `unowned`: actions that know no resource."""

    name: str
    on_ours: tuple[str, ...] = ()
    unowned: tuple[str, ...] = ()


INTERFACES: Final = (
    Service(
        "kinesis-streams",
        on_ours=(
            "kinesis:DescribeStream", "kinesis:DescribeStreamConsumer", "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards", "kinesis:ListStreamConsumers",
            "kinesis:PutRecord", "kinesis:PutRecords", "kinesis:RegisterStreamConsumer",
            "kinesis:SubscribeToShard",
        ),
    ),
    Service(
        "secretsmanager",
        on_ours=(
            "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue",
            "secretsmanager:ListSecretVersionIds", "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        ),
        unowned=("secretsmanager:GetRandomPassword",),
    ),
    Service(
        "kms",
        on_ours=(
            "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ),
    ),
    Service(
        "logs",
        on_ours=("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        unowned=("logs:DescribeLogGroups",),
    ),
    Service("monitoring", unowned=("cloudwatch:GetMetricData", "cloudwatch:PutMetricData")),
    Service(
        "xray",
        unowned=(
            "xray:GetSamplingRules", "xray:GetSamplingStatisticSummaries", "xray:GetSamplingTargets",
            "xray:PutTelemetryRecords", "xray:PutTraceSegments",
        ),
    ),
    Service(
        "ecr.api",
        on_ours=(
            "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages",
            "ecr:GetDownloadUrlForLayer",
        ),
        unowned=("ecr:GetAuthorizationToken",),
    ),
    Service(
        "ecr.dkr",
        on_ours=("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        unowned=("ecr:GetAuthorizationToken",),
    ),
    Service("sts", on_ours=("sts:AssumeRole",), unowned=("sts:GetCallerIdentity",)),
    Service(
        "ssmmessages",
        unowned=(
            "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
        ),
    ),
)  # fmt: skip

GATEWAYS: Final = (
    Service(
        "s3",
        on_ours=(
            "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetBucketLocation", "s3:GetObject",
            "s3:GetObjectAttributes", "s3:GetObjectRetention", "s3:GetObjectTagging", "s3:GetObjectVersion",
            "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions",
            "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectRetention", "s3:PutObjectTagging",
        ),
    ),
    Service(
        "dynamodb",
        on_ours=(
            "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem",
            "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem",
        ),
    ),
)  # fmt: skip


def statements(service: Service, *, account_id: str, region: str) -> list[Statement]:
    """The end point's policy."""
    ours: Condition = {
        "StringEquals": {"aws:PrincipalAccount": account_id, "aws:ResourceAccount": account_id}
    }
    callers: Condition = {"StringEquals": {"aws:PrincipalAccount": account_id}}
    found = []
    if service.on_ours:
        found.append(
            Statement(
                service.on_ours, ("*",), ours, principals=_ANYBODY, reason="ResourceAccount is the bound"
            )
        )
    if service.unowned:
        found.append(
            Statement(
                service.unowned, ("*",), callers, principals=_ANYBODY, reason="these actions take no resource"
            )
        )
    if service.name == "s3":
        # Layers of an image lie in a bucket of ECR's and are fetched with a signature of ECR's, so neither
        # account is ours. Source: Amazon ECR interface VPC endpoints, minimum bucket permissions.
        layers = f"arn:aws:s3:::prod-{region}-starport-layer-bucket/*"
        found.append(Statement(("s3:GetObject",), (layers,), principals=_ANYBODY))
    return found
