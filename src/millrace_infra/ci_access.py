"""What the hosted CI may do: it shows a token that its host signed, and takes one of two roles for an hour.

`millrace-ci-plan` reads, for plans (and takes the state's lock); `millrace-ci-deploy` makes and destroys suffixes.
Which job may show a token for which of the CI's environments is decided there, by reviewers; the subject of the
token names it, and the trust policies name the subjects. No key of ours lies at the CI's host.

A boundary closes what the deploy role may ever be given: the services of the platform, in one region, and nothing
of the account's own stack. IAM is limited to names of ours and never to these roles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from millrace.names import PROJECT
from millrace_infra.policy import Condition, Statement, document
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    IamOpenidConnectProvider,
    IamPolicy,
    IamRole,
    IamRolePolicy,
    TerraformResourceLifecycle,
)

AUDIENCE: Final = "sts.amazonaws.com"
SESSION_S: Final = 7200
"""A first deployment waits a quarter of an hour for Aurora and half an hour for a canary."""
SERVICES: Final = (
    "acm", "apigateway", "application-autoscaling", "backup", "backup-storage", "budgets", "cloudwatch",
    "codedeploy", "dynamodb", "ec2", "ecr", "ecs", "elasticache", "elasticfilesystem", "elasticloadbalancing",
    "events", "iot", "kinesis", "kms", "lambda", "logs", "rds", "rolesanywhere", "route53", "s3", "sns", "sqs", "tag",
    "wafv2", "xray",
)  # fmt: skip
"""Services that a suffix's stacks are made of. `secretsmanager` and `iam` have statements of their own."""
GLOBAL: Final = ("budgets", "route53", "s3")
"""Services whose calls name another region, or none."""
WHY_ANY: Final = (
    "names and ids of what a deployment makes are known after it; the region and the boundary limit it"
)
READING: Final = ("Describe*", "Get*", "List*")
READS_DATA: Final = (
    "dynamodb:GetItem", "kinesis:GetRecords", "kinesis:GetShardIterator", "logs:GetLogEvents", "logs:GetQueryResults",
)  # fmt: skip
"""Reading calls that return what the platform holds and not what it is: a plan has no use for it. A function's code
(`lambda:GetFunction`) is this repository's, and the provider reads it with the rest."""
OPENED_TO_PLAN: Final = ("database-master",)
"""Secrets whose value a plan reads: the master password is an argument, read at each run and kept in no plan."""
OPENED_TO_DEPLOY: Final = (*OPENED_TO_PLAN, "database-user", "dashboard-oidc")
"""And those that `preflight` opens, because people fill them. What a rotation fills, nobody here reads."""
ROLE_ACTIONS: Final = (
    "iam:DeleteRole", "iam:GetRole", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:UpdateAssumeRolePolicy",
    "iam:TagRole", "iam:UntagRole", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole", "iam:PassRole",
)  # fmt: skip
BOUNDED_ACTIONS: Final = (
    "iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary",
)  # fmt: skip
"""Only on roles with the boundary of `role_boundary`: none that the CI makes may do more than that."""


class CiAccess(Construct):
    """The provider, the boundary and the two roles; nothing at all where no repository is named."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, bucket: str) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._account = environment.settings.account_id
        self._bucket_arn = f"arn:aws:s3:::{bucket}"
        ci = environment.settings.ci
        if not ci.repository:
            return
        provider = IamOpenidConnectProvider(
            self, "provider", url=ci.issuer, client_id_list=[AUDIENCE], tags={"Name": f"{PROJECT}-ci"},
            # one that was there before us has audiences of others: theirs stay
            lifecycle=TerraformResourceLifecycle(ignore_changes=["client_id_list", "thumbprint_list"]),
        )  # fmt: skip
        provider.override_logical_id(
            f"{id}_provider"
        )  # what `bootstrap` adopts has an address to adopt it at
        boundary = IamPolicy(
            self, "boundary", name=self._named("ci-boundary"), policy=document(*self._allowed(), *self._never()),
            tags={"Name": self._named("ci-boundary")},
        )  # fmt: skip
        for verb, jobs, statements in (
            ("plan", ci.plan_environments, self._reading()),
            ("deploy", ci.deploy_environments, self._allowed()),
        ):
            name = self._named(f"ci-{verb}")
            role = IamRole(
                self, verb, name=name, max_session_duration=SESSION_S, permissions_boundary=boundary.arn,
                assume_role_policy=_trust(environment, provider.arn, jobs), tags={"Name": name},
            )  # fmt: skip
            IamRolePolicy(self, f"{verb}-policy", name=verb, role=role.id, policy=document(*statements))

    @staticmethod
    def adoptable(environment: Environment, id: str) -> Iterator[tuple[str, str]]:
        """The provider of the CI's host may be there for other repositories, or for our other region."""
        ci = environment.settings.ci
        if ci.repository:
            host = ci.issuer.removeprefix("https://")
            arn = f"arn:aws:iam::{environment.settings.account_id}:oidc-provider/{host}"
            yield f"aws_iam_openid_connect_provider.{id}_provider", arn

    def _named(self, resource: str) -> str:
        return f"{PROJECT}-{resource}-{self._environment.region}"

    def _allowed(self) -> list[Statement]:
        here: Condition = {"StringEquals": {"aws:RequestedRegion": self._environment.region}}
        regional = tuple(f"{one}:*" for one in SERVICES if one not in GLOBAL)
        ours = (f"arn:aws:s3:::{PROJECT}-*", f"arn:aws:s3:::{PROJECT}-*/*")
        roles = (f"arn:aws:iam::{self._account}:role/{PROJECT}-*",)
        names = self._environment.names
        bounded: Condition = {"StringEquals": {"iam:PermissionsBoundary": names.role_boundary_arn}}
        return [
            Statement(regional, ("*",), here, reason=WHY_ANY),
            Statement(("route53:*", "budgets:*"), ("*",), reason=WHY_ANY),
            Statement(("s3:*",), ours),
            *self._secrets(OPENED_TO_DEPLOY),
            Statement(
                ("secretsmanager:RotateSecret", "secretsmanager:CancelRotateSecret"), (self._secret_arn(),)
            ),
            Statement(ROLE_ACTIONS, roles),
            Statement(BOUNDED_ACTIONS, roles, bounded),
            *self._preflight(),
        ]

    def _preflight(self) -> list[Statement]:
        """What is asked before anything is made and after all is destroyed, beyond the services themselves."""
        quotas = ("servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota")
        return [
            Statement(quotas, ("*",), reason="a default of AWS is no resource of the account"),
            Statement(("iam:GetRole",), (f"arn:aws:iam::{self._account}:role/aws-service-role/*",)),
            Statement(
                ("iam:ListRoles",), ("*",), reason="knows no resource; destroy ends with a look for ours"
            ),
            Statement(("iam:GetPolicy",), (self._environment.names.role_boundary_arn,)),
        ]

    def _reading(self) -> list[Statement]:
        """What a plan calls."""
        here: Condition = {"StringEquals": {"aws:RequestedRegion": self._environment.region}}
        services = [one for one in SERVICES if one not in (*GLOBAL, "apigateway")]
        calls = tuple(f"{one}:{verb}" for one in services for verb in READING)
        also = (
            "apigateway:GET",
            "budgets:ListTagsForResource",
            "budgets:View*",
            "route53:Get*",
            "route53:List*",
            "s3:GetBucket*",
            "s3:Get*Configuration",
            "s3:ListBucket",
        )
        read = ("iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies")
        return [
            Statement(calls, ("*",), here, reason=WHY_ANY),
            Statement(also, ("*",), reason=WHY_ANY),
            Statement(READS_DATA, ("*",), effect="Deny", reason="a denial is for all"),
            Statement(read, (f"arn:aws:iam::{self._account}:role/{PROJECT}-*",)),
            *self._state(),
            *self._secrets(OPENED_TO_PLAN),
        ]

    def _state(self) -> list[Statement]:
        """The state is read and its lock written; what lies encrypted is opened through S3 and Secrets Manager."""
        via = [f"{service}.{self._environment.region}.amazonaws.com" for service in ("s3", "secretsmanager")]
        keys = f"arn:aws:kms:{self._environment.region}:{self._account}:key/*"
        return [
            Statement(("s3:GetObject",), (f"{self._bucket_arn}/*",)),
            Statement(("s3:PutObject", "s3:DeleteObject"), (f"{self._bucket_arn}/*.tflock",)),
            Statement(
                ("kms:Decrypt", "kms:GenerateDataKey"), (keys,), {"StringEquals": {"kms:ViaService": via}}
            ),
        ]

    def _secrets(self, opened: tuple[str, ...]) -> list[Statement]:
        return [
            Statement(("secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"), (self._secret_arn(),)),
            Statement(
                ("secretsmanager:GetSecretValue",), tuple(self._secret_arn(f"*/{name}-??????") for name in opened)
            ),
        ]  # fmt: skip

    def _secret_arn(self, name: str = "*") -> str:
        return f"arn:aws:secretsmanager:{self._environment.region}:{self._account}:secret:{PROJECT}/{name}"

    def _never(self) -> list[Statement]:
        """What neither role may do, whatever it is granted one day."""
        own = f"arn:aws:iam::{self._account}"
        state_key: Condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{PROJECT}-state"}}
        return [
            Statement(
                ("iam:*",),
                (f"{own}:role/{PROJECT}-ci-*", f"{own}:policy/{PROJECT}-ci-*", f"{own}:oidc-provider/*"),
                effect="Deny",
            ),
            # the CI destroys ephemeral environments alone: what a lock keeps, a person removes
            Statement(("s3:BypassGovernanceRetention",), ("*",), effect="Deny", reason="a denial is for all"),
            Statement(
                ("s3:DeleteBucket*", "s3:PutBucket*", "s3:DeleteObjectVersion"),
                (self._bucket_arn, f"{self._bucket_arn}/*"),
                effect="Deny",
            ),
            Statement(
                ("kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy"),
                ("*",),
                state_key,
                "Deny",
                reason="the state's key, by its alias",
            ),
            Statement(
                (
                    "xray:PutEncryptionConfig",
                    "backup:UpdateRegionSettings",
                    "ecr:PutRegistryScanningConfiguration",
                ),
                ("*",),
                effect="Deny",
                reason="settings of the account have no resource",
            ),
        ]


def _trust(environment: Environment, provider_arn: str, jobs: tuple[str, ...]) -> str:
    """Jobs of this repository that run in one of these environments of the CI, and no others."""
    ci = environment.settings.ci
    host = ci.issuer.removeprefix("https://")
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": provider_arn},
        "Condition": {
            "StringEquals": {
                f"{host}:aud": AUDIENCE,
                f"{host}:sub": [f"repo:{ci.repository}:environment:{job}" for job in jobs],
            }
        },
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
