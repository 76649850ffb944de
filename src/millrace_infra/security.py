"""Keys by purpose: each policy names the services that may use the key, and through what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from millrace_infra.policy import Condition, Statement, document
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, KmsAlias, KmsKey

DELETION_WINDOW_DAYS: Final = 7
"""The shortest that KMS offers: what `destroy` leaves is gone in a week."""
_USE: Final = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey")
_USE_FOR_SERVICES: Final = (*_USE, "kms:DescribeKey")
ADMINISTER: Final = (
    "kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Revoke*",
    "kms:Disable*", "kms:Get*", "kms:Delete*", "kms:TagResource", "kms:UntagResource",
    "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:RotateKeyOnDemand",
)  # fmt: skip
"""What the account may do with a key of ours, and no more: it manages the key, it does not use it."""


@dataclass(frozen=True)
class Purpose:
    """What a key is for. `via`: services that use it with a caller's rights (kms:ViaService).
    `principals`: services that use it in their own name.
    """

    noun: str
    data_class: str
    via: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()


PURPOSES: Final = (
    Purpose("stream", "critical", via=("kinesis", "dynamodb")),
    Purpose("database", "critical", via=("rds",)),
    Purpose("cache", "standard", via=("elasticache",)),
    Purpose("storage", "critical", via=("elasticfilesystem",)),
    Purpose("archive", "critical", via=("s3",)),
    Purpose("backup", "critical", via=("backup", "rds", "elasticfilesystem")),
    Purpose("logs", "standard", principals=("logs.{region}.amazonaws.com",)),
    Purpose(
        "alarms",
        "standard",
        via=("sns", "sqs"),
        principals=(
            "cloudwatch.amazonaws.com", "events.amazonaws.com", "budgets.amazonaws.com", "sns.amazonaws.com",
            "backup.amazonaws.com",
        ),
    ),
    Purpose("functions", "standard", via=("lambda",)),
)  # fmt: skip


class Key(Construct):
    """One customer key and its alias. `name` is for a key that belongs to no suffix."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, purpose: Purpose, name: str = ""
    ) -> None:
        super().__init__(scope, id)
        self._via = purpose.via
        self._region = environment.region
        owner = "this account and region" if name else environment.names.of("platform")
        name = name or environment.names.of(purpose.noun)
        self._resource = KmsKey(
            self,
            "key",
            description=f"{purpose.noun} of {owner}",
            enable_key_rotation=True,
            deletion_window_in_days=DELETION_WINDOW_DAYS,
            policy=document(*_policy(environment, purpose)),
            tags={"Name": name, "data-class": purpose.data_class},
        )
        self.alias = f"alias/{name}"
        KmsAlias(self, "alias", name=self.alias, target_key_id=self._resource.key_id)

    @property
    def arn(self) -> str:
        return self._resource.arn

    def use(self, *actions: str) -> Statement:
        """For a role's policy: these actions (all of use, if none is named), through the key's services."""
        named = tuple(f"kms:{action}" for action in actions) or _USE
        via = [f"{service}.{self._region}.amazonaws.com" for service in self._via]
        return Statement(named, (self.arn,), {"StringEquals": {"kms:ViaService": via}})


class Keys(Construct):
    """A key for each purpose: `keys["stream"].arn`."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        purposes: tuple[Purpose, ...] = PURPOSES,
    ) -> None:
        super().__init__(scope, id)
        self._keys: Mapping[str, Key] = {
            purpose.noun: Key(self, purpose.noun, environment=environment, purpose=purpose)
            for purpose in purposes
        }

    def __getitem__(self, noun: str) -> Key:
        return self._keys[noun]


def _policy(environment: Environment, purpose: Purpose) -> list[Statement]:
    account = environment.settings.account_id
    region = environment.region
    own_account = {"AWS": f"arn:aws:iam::{account}:root"}
    statements = [Statement(ADMINISTER, ("*",), principals=own_account)]
    if purpose.via:
        via = [f"{service}.{region}.amazonaws.com" for service in purpose.via]
        caller: Condition = {"StringEquals": {"kms:ViaService": via, "kms:CallerAccount": account}}
        statements.append(Statement(_USE_FOR_SERVICES, ("*",), caller, principals=own_account))
        # services take grants for what they keep open; a person may not make one
        grants: Condition = {**caller, "Bool": {"kms:GrantIsForAWSResource": "true"}}
        statements.append(Statement(("kms:CreateGrant",), ("*",), grants, principals=own_account))
    for service in purpose.principals:
        principal = service.format(region=region)
        statements.append(
            Statement(
                _USE_FOR_SERVICES, ("*",), _context(environment, principal), principals={"Service": principal}
            )
        )
    return statements


def _context(environment: Environment, principal: str) -> Condition:
    account, region = environment.settings.account_id, environment.region
    if principal.startswith("logs."):
        group = f"arn:aws:logs:{region}:{account}:log-group:*-{environment.suffix}"
        # names that AWS prescribes go on behind ours: /aws/rds/cluster/millrace-aurora-pr42/postgresql
        return {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": [group, f"{group}/*"]}}
    if principal.startswith("events."):
        # EventBridge sends no source account to an encrypted topic or queue; what it encrypts for, it says
        context = "kms:EncryptionContext:aws"
        names = f"{region}:{account}:*-{environment.suffix}"
        return {
            "ArnLikeIfExists": {
                f"{context}:sns:topicArn": f"arn:aws:sns:{names}", f"{context}:sqs:arn": f"arn:aws:sqs:{names}",
            }
        }  # fmt: skip
    return {"StringEquals": {"aws:SourceAccount": account}}
