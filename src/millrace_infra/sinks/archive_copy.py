"""The archive's second copy: S3 replicates each new file to a bucket of its own, and no deletion with it."""

from __future__ import annotations

from typing import Final

from millrace_infra.bucket import Bucket
from millrace_infra.policy import Role, Statement, trust
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    S3BucketReplicationConfigurationA,
    S3BucketReplicationConfigurationRule,
    S3BucketReplicationConfigurationRuleDeleteMarkerReplication,
    S3BucketReplicationConfigurationRuleDestination,
    S3BucketReplicationConfigurationRuleDestinationEncryptionConfiguration,
    S3BucketReplicationConfigurationRuleDestinationMetrics,
    S3BucketReplicationConfigurationRuleFilter,
    S3BucketReplicationConfigurationRuleSourceSelectionCriteria,
    S3BucketReplicationConfigurationRuleSourceSelectionCriteriaSseKmsEncryptedObjects,
)

RULE: Final = "all"
"""The one rule, under whose name its metrics are."""


def copy(
    scope: Construct, *, source: Bucket, target: Bucket, key: Key, environment: Environment
) -> S3BucketReplicationConfigurationA:
    """Replicate `source` to `target`, both under `key`."""
    role = Role(
        scope,
        "copy-role",
        names=environment.names,
        name="archive-copy",
        trust_policy=trust("s3.amazonaws.com", account_id=environment.settings.account_id),
    )
    role.allow("copy", *_may(source, target), key.use("Decrypt", "Encrypt", "GenerateDataKey"))
    rule = S3BucketReplicationConfigurationRule(
        id=RULE,
        priority=1,
        status="Enabled",
        filter=S3BucketReplicationConfigurationRuleFilter(prefix=""),
        # what is deleted here by mistake is still there
        delete_marker_replication=S3BucketReplicationConfigurationRuleDeleteMarkerReplication(
            status="Disabled"
        ),
        source_selection_criteria=S3BucketReplicationConfigurationRuleSourceSelectionCriteria(
            sse_kms_encrypted_objects=(
                S3BucketReplicationConfigurationRuleSourceSelectionCriteriaSseKmsEncryptedObjects(
                    status="Enabled"
                )
            )
        ),
        destination=S3BucketReplicationConfigurationRuleDestination(
            bucket=target.arn,
            encryption_configuration=S3BucketReplicationConfigurationRuleDestinationEncryptionConfiguration(
                replica_kms_key_id=key.arn
            ),
            # S3 tries a file again for a while, and then never: without these nobody would be told
            metrics=S3BucketReplicationConfigurationRuleDestinationMetrics(status="Enabled"),
        ),
    )
    return S3BucketReplicationConfigurationA(
        scope,
        "replication",
        bucket=source.name,
        role=role.arn,
        rule=[rule],
        depends_on=[source.versioning, target.versioning, *role.policies],
    )


def _may(source: Bucket, target: Bucket) -> list[Statement]:
    return [
        Statement(("s3:GetReplicationConfiguration", "s3:ListBucket"), (source.arn,)),
        Statement(
            (
                "s3:GetObjectLegalHold",
                "s3:GetObjectRetention",
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionForReplication",
                "s3:GetObjectVersionTagging",
            ),
            (f"{source.arn}/*",),
        ),
        # no ReplicateDelete: the copy forgets nothing that the original forgets
        Statement(("s3:ReplicateObject", "s3:ReplicateTags"), (f"{target.arn}/*",)),
    ]
