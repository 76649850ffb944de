"""A private bucket: versions, encryption, TLS alone, no public access, no ACLs, destroyable.

The parts are resources of their own since AWS provider 4; what a bucket of ours must have is here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millrace_infra.policy import Condition, Statement, document
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    S3Bucket,
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
    S3BucketLifecycleConfigurationRuleTransition,
    S3BucketObjectLockConfigurationA,
    S3BucketObjectLockConfigurationRuleA,
    S3BucketObjectLockConfigurationRuleDefaultRetentionA,
    S3BucketOwnershipControls,
    S3BucketOwnershipControlsRule,
    S3BucketPolicy,
    S3BucketPublicAccessBlock,
    S3BucketServerSideEncryptionConfigurationA,
    S3BucketServerSideEncryptionConfigurationRuleA,
    S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA,
    S3BucketVersioningA,
    S3BucketVersioningVersioningConfiguration,
)

ABANDONED_UPLOAD_DAYS: Final = 7
"""Parts of an upload that nobody finished cost storage and are in no listing."""


@dataclass(frozen=True)
class Keep:
    """How long objects under a prefix live, in days (0: until they are replaced).

    `colder` is (day, storage class), coldest last.
    """

    prefix: str
    days: int
    noncurrent_days: int
    colder: tuple[tuple[int, str], ...] = ()


class Bucket(Construct):
    """One bucket. Without `key` it is SSE-S3, which AWS forces on buckets that its services log to.

    `lock_days` is the default retention of Object Lock in governance mode: nobody without
    `s3:BypassGovernanceRetention` removes a version before; 0 is no lock. `also` extends the policy.
    `name` is for a bucket that belongs to no suffix.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        resource: str,
        data_class: str,
        keep: Sequence[Keep],
        key: Key | None = None,
        lock_days: int = 0,
        also: Sequence[Statement] = (),
        name: str = "",
    ) -> None:
        super().__init__(scope, id)
        name = name or environment.names.in_world(resource)
        self.arn = f"arn:aws:s3:::{name}"
        self._bucket = S3Bucket(
            self,
            "bucket",
            bucket=name,
            force_destroy=True,
            object_lock_enabled=bool(lock_days),
            tags={"Name": name, "data-class": data_class},
        )
        self.versioning = S3BucketVersioningA(
            self,
            "versioning",
            bucket=self.name,
            versioning_configuration=S3BucketVersioningVersioningConfiguration(status="Enabled"),
        )
        self._encrypt(key)
        self._close(also, key)
        self._keep(keep)
        if lock_days:
            self._lock(lock_days)

    @property
    def name(self) -> str:
        return self._bucket.id

    def _encrypt(self, key: Key | None) -> None:
        method = S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(
            sse_algorithm="aws:kms" if key else "AES256", kms_master_key_id=key.arn if key else None
        )
        S3BucketServerSideEncryptionConfigurationA(
            self,
            "encryption",
            bucket=self.name,
            rule=[
                S3BucketServerSideEncryptionConfigurationRuleA(
                    apply_server_side_encryption_by_default=method,
                    # one data key for a while instead of a call to KMS for each file
                    bucket_key_enabled=bool(key),
                )
            ],
        )

    def _close(self, also: Sequence[Statement], key: Key | None) -> None:
        S3BucketOwnershipControls(
            self,
            "ownership",
            bucket=self.name,
            rule=S3BucketOwnershipControlsRule(object_ownership="BucketOwnerEnforced"),
        )
        block = S3BucketPublicAccessBlock(
            self,
            "public-access",
            bucket=self.name,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        )
        self.policy = S3BucketPolicy(
            self,
            "policy",
            bucket=self.name,
            policy=document(*_tls_only(self.arn), *_our_key_only(self.arn, key), *also),
            depends_on=[block],  # S3 refuses two changes of one bucket's access at a time
        )

    def _keep(self, keep: Sequence[Keep]) -> None:
        S3BucketLifecycleConfiguration(
            self,
            "life-cycle",
            bucket=self.name,
            rule=[*(_life(one) for one in keep), _leftovers()],
            depends_on=[self.versioning],  # noncurrent rules mean nothing to a bucket without versions
        )

    def _lock(self, days: int) -> None:
        S3BucketObjectLockConfigurationA(
            self,
            "lock",
            bucket=self.name,
            rule=S3BucketObjectLockConfigurationRuleA(
                default_retention=S3BucketObjectLockConfigurationRuleDefaultRetentionA(
                    mode="GOVERNANCE", days=days
                )
            ),
            depends_on=[self.versioning],
        )


def bucket_arn(environment: Environment, resource: str) -> str:
    """The address that the bucket has or will have: a policy may name it before it is there."""
    return f"arn:aws:s3:::{environment.names.in_world(resource)}"


def _tls_only(arn: str) -> list[Statement]:
    everything, everyone = (arn, f"{arn}/*"), {"AWS": "*"}
    return [
        Statement(
            ("s3:*",), everything, {"Bool": {"aws:SecureTransport": "false"}}, "Deny", principals=everyone
        ),
        Statement(
            ("s3:*",), everything, {"NumericLessThan": {"s3:TlsVersion": "1.2"}}, "Deny", principals=everyone
        ),
    ]


def _our_key_only(arn: str, key: Key | None) -> list[Statement]:
    """A writer that says nothing of encryption gets our key by default; one that asks for another is refused.

    A negated operator is true of a header that is not there, with or without IfExists: by itself it would refuse
    who says nothing, too. So it counts only where encryption is asked for: `AES256`, or `aws:kms` without a key,
    which S3 reads as AWS's own. Source: IAM user guide, condition operators; S3 API reference, PutObject.
    """
    if key is None:
        return []
    header = "s3:x-amz-server-side-encryption"
    condition: Condition = {
        "Null": {header: "false"},
        # the state's bucket is written by Terraform, which names its key by the alias
        "StringNotEquals": {f"{header}-aws-kms-key-id": [key.arn, key.alias]},
    }
    return [Statement(("s3:PutObject",), (f"{arn}/*",), condition, "Deny", principals={"AWS": "*"})]


def _life(keep: Keep) -> S3BucketLifecycleConfigurationRule:
    return S3BucketLifecycleConfigurationRule(
        id=keep.prefix.rstrip("/") or "all",
        status="Enabled",
        filter=[S3BucketLifecycleConfigurationRuleFilter(prefix=keep.prefix)],
        transition=[
            S3BucketLifecycleConfigurationRuleTransition(days=days, storage_class=storage_class)
            for days, storage_class in keep.colder
        ]
        or None,
        expiration=[S3BucketLifecycleConfigurationRuleExpiration(days=keep.days)] if keep.days else None,
        noncurrent_version_expiration=[
            S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(
                noncurrent_days=keep.noncurrent_days
            )
        ],
    )


def _leftovers() -> S3BucketLifecycleConfigurationRule:
    """Unfinished uploads, and the markers of objects whose last version is gone."""
    return S3BucketLifecycleConfigurationRule(
        id="leftovers",
        status="Enabled",
        filter=[S3BucketLifecycleConfigurationRuleFilter(prefix="")],
        expiration=[S3BucketLifecycleConfigurationRuleExpiration(expired_object_delete_marker=True)],
        abort_incomplete_multipart_upload=[
            S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(
                days_after_initiation=ABANDONED_UPLOAD_DAYS
            )
        ],
    )
