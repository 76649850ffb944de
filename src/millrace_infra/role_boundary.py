"""What a role of a suffix may ever do. Whoever may make roles, the CI above all, could else make one that may do more
than itself, and hand it to a function of its own.

It is no grant: a role's own policies say what it may do, this what they can say at most. One for the account and
region, of the account's own stack; every role of a suffix has it, and the CI can make none without.
"""

from __future__ import annotations

from typing import Final

from millrace.names import PROJECT
from millrace_infra.policy import Condition, Statement, document
from millrace_infra.settings import Environment
from millrace_infra.stack import state_bucket
from millrace_infra.terraform import Construct, IamPolicy

ASKED: Final = (
    "apigateway", "backup", "cloudwatch", "dynamodb", "ec2", "ecr", "ecs", "elasticloadbalancing", "kinesis", "logs",
    "rds", "sqs", "tag", "xray",
)  # fmt: skip
"""Services whose calls name their region."""
OPENED: Final = ("elasticache", "elasticfilesystem", "kms", "rds-db", "secretsmanager")
"""Services that connect, mount or open: what they are asked for is of this account, by its address."""
WHY_ANY: Final = "an upper bound grants nothing by itself; the region limits it"


class RoleBoundary(Construct):
    """The managed policy under `Names.role_boundary_arn`."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment) -> None:
        super().__init__(scope, id)
        name = environment.names.role_boundary
        IamPolicy(self, "policy", name=name, policy=document(*_at_most(environment)), tags={"Name": name})


def _at_most(environment: Environment) -> list[Statement]:
    here: Condition = {"StringEquals": {"aws:RequestedRegion": environment.region}}
    account, state = environment.settings.account_id, f"arn:aws:s3:::{state_bucket(environment)}"
    return [
        Statement(tuple(f"{one}:*" for one in ASKED), ("*",), here, reason=WHY_ANY),
        Statement(
            tuple(f"{one}:*" for one in OPENED), tuple(f"arn:aws:{one}:*:{account}:*" for one in OPENED)
        ),
        Statement(("s3:*",), (f"arn:aws:s3:::{PROJECT}-*", f"arn:aws:s3:::{PROJECT}-*/*")),
        Statement(
            ("iam:PassRole",), (f"arn:aws:iam::{account}:role/{PROJECT}-*",),
            {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        Statement(("s3:*",), (state, f"{state}/*"), effect="Deny"),
        Statement(
            ("kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy", "s3:BypassGovernanceRetention",
             "secretsmanager:DeleteSecret", "secretsmanager:PutResourcePolicy"),
            ("*",), effect="Deny", reason="a denial is for all",
        ),
    ]  # fmt: skip
