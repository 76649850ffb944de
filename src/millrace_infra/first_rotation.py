"""The first rotation of each secret, which `deploy` asks for once the database is migrated.

Until then the secrets hold what a person put there: a database user without a password, no API key in the usage
plan. The rotation sets the one, makes the other, and signs in with the new password before it says that it is done.
A secret that was rotated since this database was made is left alone: its own rhythm has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from millrace.errors import MillraceError
from millrace_infra.workspace import output_of

POLL_S: Final = 5.0
ROTATION_S_MAX: Final = 300.0
"""Four steps of seconds each; Secrets Manager repeats one that failed a few times within minutes."""
CURRENT: Final = "AWSCURRENT"
PENDING: Final = "AWSPENDING"


class RotationFailed(MillraceError):
    """A secret was not rotated. Its value before is still the one in force."""


@dataclass(frozen=True)
class FirstRotation:
    """The secrets of the platform that Terraform left, by its flat outputs."""

    outputs: Mapping[str, Any]
    client: Callable[[str], Any]
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

    def output(self, name: str) -> Any:
        return output_of(self.outputs, name, RotationFailed)

    def run(self) -> None:
        """Rotate what was not rotated since the database was made, one after the other; safe to repeat."""
        born = self._database_made()
        secrets: Sequence[str] = self.output("rotated_secret_arns")
        for arn in secrets:
            rotated = self.client("secretsmanager").describe_secret(SecretId=arn).get("LastRotatedDate")
            name = arn.rpartition(":")[2]
            if rotated is not None and rotated >= born:
                self.say(f"rotation: {name} was rotated on {rotated.date()} already")
                continue
            self.say(f"rotation: {name}")
            self._rotate(arn)

    def _database_made(self) -> Any:
        cluster = self.output("database_cluster")
        found = self.client("rds").describe_db_clusters(DBClusterIdentifier=cluster)["DBClusters"]
        return found[0]["ClusterCreateTime"]

    def _rotate(self, arn: str) -> None:
        manager = self.client("secretsmanager")
        try:
            version = manager.rotate_secret(SecretId=arn, RotateImmediately=True)["VersionId"]
        except manager.exceptions.InvalidRequestException as error:
            # one that an earlier command began: Secrets Manager goes on with it, and so do we
            version = self._pending(arn)
            if version is None:
                raise RotationFailed(f"{arn} can not be rotated: {error}") from error
        for _ in range(int(ROTATION_S_MAX / POLL_S)):
            if CURRENT in self._stages(arn).get(version, ()):
                return
            self.sleep(POLL_S)
        raise RotationFailed(
            f"{arn}: version {version} is not in force after {ROTATION_S_MAX:.0f} s; the value before still is. "
            "The log group of the rotation says which step failed; deploy again after the cure"
        )

    def _pending(self, arn: str) -> str | None:
        return next((version for version, labels in self._stages(arn).items() if PENDING in labels), None)

    def _stages(self, arn: str) -> Mapping[str, Sequence[str]]:
        found: Mapping[str, Sequence[str]] = self.client("secretsmanager").describe_secret(SecretId=arn)[
            "VersionIdsToStages"
        ]
        return found
