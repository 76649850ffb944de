"""The archive: every reading, whole, in S3, for as long as its data class says.

| prefix | what | cold tiers | deleted after |
|---|---|---|---|
| `critical/` | segments of critical tags | infrequent access at 30 days, glacier (instant) at 90 | `critical_days` |
| `quarantine/` | what was set aside; it may hold critical readings | the same | the same |
| `standard/` | segments of other tags | infrequent access at 30 days | `standard_days` |

No tier is colder than instant retrieval: history is asked for over years, and Deep Archive answers after twelve
hours. Under the profile `records` the bucket's Object Lock keeps each file for `critical_days` unless its writer
asks for less, which it may do for `standard/` alone: who forgets to ask keeps too long, never too short.

What brings what back: a version, a file overwritten or deleted by mistake; the second copy, a bucket emptied or
deleted. The copy lies in the same region under the same key: against the loss of either it does not help.
"""

from __future__ import annotations

from typing import Final

from millrace import names as words
from millrace_infra.bucket import Bucket, Keep, bucket_arn
from millrace_infra.policy import Statement
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.settings.environment import RETENTION_DAYS_MIN
from millrace_infra.sinks.archive_copy import copy
from millrace_infra.terraform import Construct, S3BucketLoggingA

INFREQUENT: Final = (30, "STANDARD_IA")
"""30 days is the least that S3 takes for this class; raw rows of critical tags leave PostgreSQL before."""
INSTANT: Final = (90, "GLACIER_IR")
"""A quarter of the infrequent class's price; it charges 90 days at least, so nothing shorter goes there."""
COPY: Final = (1, "DEEP_ARCHIVE")
"""A copy is read after a disaster only: twelve hours do not matter, a twentieth of the price does."""
NONCURRENT_STANDARD_DAYS: Final = 30
"""Time to notice that a file was overwritten or deleted by mistake."""


class Archive(Construct):
    """The archive's bucket, its access log and, where the settings say so, its copy."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, key: Key) -> None:
        super().__init__(scope, id)
        self._key = key
        settings = environment.settings
        self._critical_days = max(settings.critical_days, RETENTION_DAYS_MIN)
        self._locked = settings.profile == "records"
        self._standard_days = settings.standard_days
        lock_days = self._critical_days if self._locked else 0
        self._bucket = Bucket(
            self, "files", environment=environment, resource="archive", data_class="critical",
            keep=self._keep(INFREQUENT, INSTANT), key=key, lock_days=lock_days,
        )  # fmt: skip
        self._log = _access_log(self, environment)
        S3BucketLoggingA(
            self, "logging", bucket=self.bucket, target_bucket=self._log.name, target_prefix="archive/",
            depends_on=[self._log.policy],  # S3 tries whether it may write there
        )  # fmt: skip
        self.copy_bucket = ""
        if settings.second_archive_copy:
            twin = Bucket(
                self, "copy", environment=environment, resource="archive-copy", data_class="critical",
                keep=self._keep(COPY), key=key, lock_days=lock_days,
            )  # fmt: skip
            copy(self, source=self._bucket, target=twin, key=key, environment=environment)
            self.copy_bucket = twin.name

    @property
    def bucket(self) -> str:
        return self._bucket.name

    @property
    def arn(self) -> str:
        return self._bucket.arn

    def write(self) -> list[Statement]:
        """Add files, under the known prefixes only; nothing of ours deletes from the archive."""
        statements = [
            Statement(("s3:AbortMultipartUpload", "s3:PutObject"), self._under(*_PREFIXES)),
            # an upload in parts reads the data key back for each part
            self._key.use("Decrypt", "GenerateDataKey"),
        ]
        if self._locked:
            statements.append(Statement(("s3:PutObjectRetention",), self._under(words.ARCHIVE_STANDARD)))
        return statements

    def read(self) -> list[Statement]:
        """List and read files, and their versions for a proof that a record is unaltered."""
        return [
            Statement(("s3:GetObject", "s3:GetObjectVersion"), self._under(*_PREFIXES)),
            Statement(("s3:ListBucket", "s3:ListBucketVersions"), (self.arn,)),
            self._key.use("Decrypt"),
        ]

    def environment(self) -> dict[str, str]:
        """The bucket, and the days to ask for on a standard file where the bucket has a lock (0: it has none)."""
        return {
            words.ENV_ARCHIVE_BUCKET: self.bucket,
            words.ENV_ARCHIVE_LOCK_DAYS: str(self._standard_days if self._locked else 0),
        }

    def _under(self, *prefixes: str) -> tuple[str, ...]:
        return tuple(f"{self.arn}/{prefix}*" for prefix in prefixes)

    def _keep(self, *colder: tuple[int, str]) -> list[Keep]:
        # a version of a critical file outlives its replacement as long as the file itself would have; with a
        # lock S3 deletes no version early anyway, and a second retention on top would only cost
        noncurrent = 1 if self._locked else self._critical_days
        standard = tuple((day, tier) for day, tier in colder if tier != INSTANT[1])
        return [
            Keep(words.ARCHIVE_CRITICAL, self._critical_days, noncurrent, colder),
            Keep(words.ARCHIVE_QUARANTINE, self._critical_days, noncurrent, colder),
            Keep(words.ARCHIVE_STANDARD, self._standard_days, NONCURRENT_STANDARD_DAYS, standard),
        ]


_PREFIXES: Final = (words.ARCHIVE_CRITICAL, words.ARCHIVE_QUARANTINE, words.ARCHIVE_STANDARD)


def _access_log(scope: Construct, environment: Environment) -> Bucket:
    """Who read or wrote which file. SSE-S3: S3 delivers no access log to a bucket with a KMS default.

    Source: Amazon S3 user guide, "Enabling Amazon S3 server access logging".
    """
    delivery = Statement(
        ("s3:PutObject",),
        (f"{bucket_arn(environment, 'archive-log')}/archive/*",),
        {
            "ArnEquals": {"aws:SourceArn": bucket_arn(environment, "archive")},
            "StringEquals": {"aws:SourceAccount": environment.settings.account_id},
        },
        principals={"Service": "logging.s3.amazonaws.com"},
    )
    days = environment.settings.log_days
    return Bucket(
        scope, "access-log", environment=environment, resource="archive-log", data_class="standard",
        keep=[Keep("", days, NONCURRENT_STANDARD_DAYS)], also=[delivery],
    )  # fmt: skip
