"""Backups: what AWS Backup keeps of Aurora and EFS, beside what each store keeps of itself.

| what was lost | what brings it back | how far back | how old at worst |
|---|---|---|---|
| rows, by a mistake | Aurora's own backups, to a second | `backup_days`, 35 at most | 5 minutes |
| the cluster and its own backups | the vault, daily | 35 days | a day |
| | the vault, weekly | 90 days | a week |
| | the vault, monthly | `critical_days`, seven years | a month |
| shared storage | the vault, daily; without it, workers start from the stream and the stores | 35 days | a day |
| an archive file | its earlier version; the archive's second copy (`sinks/archive.py`) | seven years | none |
| the real-time store | its owners publish it again | - | none |
| the stream's leases | a point in time of the table | 35 days | 5 minutes |

Monthly, not daily, for seven years: a copy may be a full one, and 2,557 daily ones of 1 TB are 2.5 PB. None goes
to cold storage: AWS Backup has none for Aurora. Every reading of those years is in the archive; the monthly
copies are for the rest: alarms with their acknowledgements, the asset model, the audit trail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from millrace_infra.policy import Role, Statement, trust
from millrace_infra.policy import document as policy_document
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.settings.environment import RETENTION_DAYS_MIN
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.terraform import (
    BackupPlan,
    BackupPlanRule,
    BackupPlanRuleLifecycle,
    BackupSelection,
    BackupVault,
    BackupVaultPolicy,
    Construct,
)

DAILY: Final = "cron(0 3 * * ? *)"
WEEKLY: Final = "cron(0 3 ? * SUN *)"
MONTHLY: Final = "cron(0 3 1 * ? *)"
"""03:00 UTC: after Aurora's own window, before its maintenance. Where two fall on one day, AWS Backup makes the
one that is kept longer."""
DAILY_DAYS: Final = 35
WEEKLY_DAYS: Final = 90
START_MINUTES: Final = 60
"""The least that AWS Backup takes; it starts a job some time within."""
COMPLETE_MINUTES: Final = 720
"""A first copy of some TB takes hours; a job still running at noon is a fault and ends as one."""


@dataclass(frozen=True)
class Tier:
    """One rule of a plan."""

    name: str
    schedule: str
    days: int


class Backup(Construct):
    """The vault of one suffix, and what goes into it."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        key: Key,
        database: Aurora,
        storage: SharedStorage,
    ) -> None:
        super().__init__(scope, id)
        self._names = environment.names
        name = environment.names.of("backup")
        self._vault = BackupVault(
            self,
            "vault",
            name=name,
            kms_key_arn=key.arn,
            force_destroy=True,
            tags={"Name": name, "data-class": "critical"},
        )
        if environment.settings.profile == "records":
            self._guard()
        self._role = _role(self, environment, key, database, storage, self._vault.arn)
        monthly_days = max(environment.settings.critical_days, RETENTION_DAYS_MIN)
        self.resource_types: dict[str, str] = {}
        """What has a plan -> AWS Backup's word for its kind, by which its metrics tell the stores of a vault apart.
        Source: AWS Backup API reference, GetSupportedResourceTypes.
        """
        self._plan(
            "aurora",
            "Aurora",
            database.cluster_arn,
            Tier("monthly", MONTHLY, monthly_days),
            Tier("weekly", WEEKLY, WEEKLY_DAYS),
            Tier("daily", DAILY, DAILY_DAYS),
        )
        self._plan("shared-storage", "EFS", storage.arn, Tier("daily", DAILY, DAILY_DAYS))

    @property
    def vault_name(self) -> str:
        return self._vault.name

    @property
    def vault_arn(self) -> str:
        return self._vault.arn

    def _plan(self, noun: str, resource_type: str, arn: str, *tiers: Tier) -> None:
        self.resource_types[noun] = resource_type
        name = self._names.of(f"backup-{noun}")
        plan = BackupPlan(
            self,
            f"{noun}-plan",
            name=name,
            rule=[
                BackupPlanRule(
                    rule_name=tier.name,
                    target_vault_name=self._vault.name,
                    schedule=tier.schedule,
                    start_window=START_MINUTES,
                    completion_window=COMPLETE_MINUTES,
                    lifecycle=BackupPlanRuleLifecycle(delete_after=tier.days),
                )
                for tier in tiers
            ],
            tags={"Name": name},
        )
        # by address: a tag that somebody forgets must not decide whether seven years are kept
        BackupSelection(
            self,
            f"{noun}-selection",
            name=self._names.of(noun),
            plan_id=plan.id,
            iam_role_arn=self._role.arn,
            resources=[arn],
            depends_on=self._role.policies,
        )

    def _guard(self) -> None:
        """Nobody deletes or shortens a recovery point; to destroy, Terraform takes this policy away first."""
        denied = Statement(
            ("backup:DeleteRecoveryPoint", "backup:UpdateRecoveryPointLifecycle"),
            ("*",),
            effect="Deny",
            principals={"AWS": "*"},
            reason="a vault's policy is about every recovery point in it",
        )
        BackupVaultPolicy(self, "guard", backup_vault_name=self._vault.name, policy=policy_document(denied))


def _role(
    scope: Construct,
    environment: Environment,
    key: Key,
    database: Aurora,
    storage: SharedStorage,
    vault_arn: str,
) -> Role:
    """Makes, copies and expires backups of these two stores; AWS's own policy covers every store there is."""
    role = Role(
        scope,
        "role",
        names=environment.names,
        name="backup",
        trust_policy=trust("backup.amazonaws.com", account_id=environment.settings.account_id),
    )
    role.allow("aurora", *_may_back_up_aurora(environment, database))
    role.allow(
        "shared-storage",
        Statement(("elasticfilesystem:Backup", "elasticfilesystem:DescribeTags"), (storage.arn,)),
    )
    role.allow(
        "vault",
        Statement(("backup:CopyIntoBackupVault", "backup:DescribeBackupVault"), (vault_arn,)),
        Statement(
            ("tag:GetResources",), ("*",), reason="the action knows no resource: it finds them by their tags"
        ),
    )
    role.allow("keys", *_may_use_keys(environment, key, database.key, storage.key))
    return role


def _may_back_up_aurora(environment: Environment, database: Aurora) -> list[Statement]:
    account = f"arn:aws:rds:{environment.region}:{environment.settings.account_id}"
    ours = f"{account}:cluster-snapshot:awsbackup:*"
    return [
        Statement(
            (
                "rds:AddTagsToResource",
                "rds:CopyDBClusterSnapshot",
                "rds:CreateDBClusterSnapshot",
                "rds:DescribeDBClusterSnapshots",
                "rds:ListTagsForResource",
            ),
            (database.cluster_arn, ours),
        ),
        Statement(("rds:DeleteDBClusterSnapshot", "rds:ModifyDBClusterSnapshotAttribute"), (ours,)),
        Statement(
            ("rds:DescribeDBClusterAutomatedBackups", "rds:DescribeDBClusters"),
            (f"{account}:cluster:*", f"{account}:cluster-auto-backup:*"),
        ),
    ]


def _may_use_keys(environment: Environment, *keys: Key) -> list[Statement]:
    services = ("backup", "elasticfilesystem", "rds")
    via = {"kms:ViaService": [f"{service}.{environment.region}.amazonaws.com" for service in services]}
    arns = tuple(key.arn for key in keys)
    return [
        Statement(("kms:DescribeKey",), arns),
        Statement(
            ("kms:Decrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
            arns,
            {"StringEquals": via},
        ),
        # a snapshot is made while nobody is there: the service keeps a grant for it
        Statement(
            ("kms:CreateGrant",),
            arns,
            {"StringEquals": via, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    ]
