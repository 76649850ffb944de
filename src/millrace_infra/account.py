"""What exists once per account and region, apart from every suffix: `make bootstrap` makes or adopts it.

In a suffix's stack each of these would break its neighbours: the last one to be destroyed takes X-Ray's key or API
Gateway's log role with it. No verb destroys this stack. Names carry no suffix; what is in it depends on the account
and the region alone, so that any environment's settings may bootstrap it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from millrace.names import PROJECT
from millrace_infra.account_parts import BACKED_UP, SERVICE_LINKED
from millrace_infra.bucket import Bucket, Keep
from millrace_infra.ci_access import CiAccess
from millrace_infra.policy import Statement, document, trust
from millrace_infra.role_boundary import RoleBoundary
from millrace_infra.security import Key, Purpose
from millrace_infra.settings import Environment
from millrace_infra.stack import Stack, state_bucket
from millrace_infra.terraform import (
    ApiGatewayAccount,
    App,
    BackupRegionSettings,
    EcrRegistryScanningConfiguration,
    EcrRegistryScanningConfigurationRule,
    EcrRegistryScanningConfigurationRuleRepositoryFilter,
    IamRole,
    IamRolePolicy,
    IamServiceLinkedRole,
    TerraformResourceLifecycle,
    XrayEncryptionConfig,
)

NAME: Final = f"{PROJECT}-account"
STATE_VERSIONS_DAYS: Final = 90
"""A former state is wanted days after a mistake, at most at the next audit of changes."""
LOG_ACTIONS: Final = (
    "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams",
    "logs:PutLogEvents", "logs:GetLogEvents", "logs:FilterLogEvents",
)  # fmt: skip
"""What AWS's own AmazonAPIGatewayPushToCloudWatchLogs holds: API Gateway refuses a role that holds less."""


class Account(Stack):
    """The account's own stack."""

    def __init__(self, scope: App, environment: Environment) -> None:
        super().__init__(scope, NAME, environment, tags=_tags(environment))
        self._state(environment)
        self._xray(environment)
        self._gateway_log_role(environment)
        self._backup()
        self._scanning()
        for noun, (service, _) in SERVICE_LINKED.items():
            IamServiceLinkedRole(self, f"service-linked-{noun}", aws_service_name=service)
        RoleBoundary(self, "role-boundary", environment=environment)
        CiAccess(self, "ci", environment=environment, bucket=state_bucket(environment))

    def _state(self, environment: Environment) -> None:
        purpose = Purpose("state", "critical", via=("s3",))
        key = Key(self, "state-key", environment=environment, purpose=purpose, name=f"{PROJECT}-state")
        Bucket(
            self,
            "state",
            environment=environment,
            resource="state",
            name=state_bucket(environment),
            data_class="critical",
            key=key,
            # current states have no age: only what was replaced goes
            keep=[Keep("", days=0, noncurrent_days=STATE_VERSIONS_DAYS)],
        )

    def _xray(self, environment: Environment) -> None:
        purpose = Purpose("traces", "standard", via=("xray",))
        key = Key(self, "traces-key", environment=environment, purpose=purpose, name=f"{PROJECT}-traces")
        XrayEncryptionConfig(self, "traces", type="KMS", key_id=key.arn)

    def _gateway_log_role(self, environment: Environment) -> None:
        name = f"{PROJECT}-gateway-logs-{environment.region}"
        role = IamRole(
            self, "gateway-logs", name=name, tags={"Name": name},
            assume_role_policy=trust("apigateway.amazonaws.com", account_id=environment.settings.account_id),
        )  # fmt: skip
        allowed = IamRolePolicy(
            self, "gateway-logs-policy", name="logs", role=role.id,
            policy=document(Statement(LOG_ACTIONS, ("*",), reason="API Gateway names its log groups itself")),
        )  # fmt: skip
        # API Gateway tries the role out when it is told of it
        ApiGatewayAccount(self, "gateway", cloudwatch_role_arn=role.arn, depends_on=[allowed])

    def _backup(self) -> None:
        BackupRegionSettings(
            self,
            "backup",
            resource_type_opt_in_preference=dict.fromkeys(BACKED_UP, True),
            # the answer names every kind that AWS knows: what others opted into is theirs
            lifecycle=TerraformResourceLifecycle(ignore_changes=["resource_type_opt_in_preference"]),
        )

    def _scanning(self) -> None:
        """The registry itself is a suffix's; how images are scanned is a setting of the account."""
        ours = EcrRegistryScanningConfigurationRuleRepositoryFilter(
            filter=f"{PROJECT}-*", filter_type="WILDCARD"
        )
        EcrRegistryScanningConfiguration(
            self,
            "scanning",
            scan_type="BASIC",
            rule=[
                EcrRegistryScanningConfigurationRule(scan_frequency="SCAN_ON_PUSH", repository_filter=[ours])
            ],
        )


def adoptable(environment: Environment) -> Iterator[tuple[str, str]]:
    """(address, import id) of what may be there before us; what is not there is then made.

    What is a setting and no thing (X-Ray's encryption, API Gateway's account, Backup's opt-in, ECR's scanning)
    needs no adopting: making it is setting it.
    """
    account = environment.settings.account_id
    for noun, (service, role) in SERVICE_LINKED.items():
        arn = f"arn:aws:iam::{account}:role/aws-service-role/{service}/{role}"
        yield f"aws_iam_service_linked_role.service-linked-{noun}", arn
    yield from CiAccess.adoptable(environment, "ci")


def _tags(environment: Environment) -> dict[str, str]:
    """As every environment of the account says it: nothing of a suffix."""
    tags = {key: environment.tags[key] for key in ("project", "owner", "cost-centre", "data-class")}
    return {**tags, "environment": "account"}
