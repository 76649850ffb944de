"""The key of the tasks' scratch disks: only Fargate may use it, and only for this cluster.

Its policy stands apart from the keys by purpose: Fargate asks with an encryption context that names the
cluster, and makes the grant for the disk itself.
Source: Customer managed keys for AWS Fargate ephemeral storage.
"""

from __future__ import annotations

from typing import Final

from millrace_infra.policy import Condition, Statement, document
from millrace_infra.security import ADMINISTER, DELETION_WINDOW_DAYS
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, KmsAlias, KmsKey

_FARGATE: Final = {"Service": "fargate.amazonaws.com"}


class ScratchKey(Construct):
    """The key and its alias."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, cluster_name: str) -> None:
        super().__init__(scope, id)
        name = environment.names.of("scratch")
        self._resource = KmsKey(
            self,
            "key",
            description=f"scratch disks of the tasks of {environment.names.of('platform')}",
            enable_key_rotation=True,
            deletion_window_in_days=DELETION_WINDOW_DAYS,
            policy=document(*_statements(environment.settings.account_id, cluster_name)),
            tags={"Name": name, "data-class": "critical"},
        )
        KmsAlias(self, "alias", name=f"alias/{name}", target_key_id=self._resource.key_id)

    @property
    def arn(self) -> str:
        return self._resource.arn


def _statements(account_id: str, cluster_name: str) -> list[Statement]:
    cluster = {
        "kms:EncryptionContext:aws:ecs:clusterAccount": account_id,
        "kms:EncryptionContext:aws:ecs:clusterName": cluster_name,
    }
    disk: Condition = {"StringEquals": cluster}
    grant: Condition = {**disk, "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]}}
    return [
        Statement(ADMINISTER, ("*",), principals={"AWS": f"arn:aws:iam::{account_id}:root"}),
        Statement(("kms:GenerateDataKeyWithoutPlaintext",), ("*",), disk, principals=_FARGATE),
        Statement(("kms:CreateGrant",), ("*",), grant, principals=_FARGATE),
    ]
