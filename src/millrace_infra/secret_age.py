"""The watch over rotation: once an hour a function says how old each rotated secret is.

Secrets Manager tells of a rotation that fails, and of none that does not begin; CloudWatch looks back a week, and a
rotation has a month. So the age itself is a metric, which the alarm `rotation-overdue` reads.
"""

from __future__ import annotations

from typing import Final

from millrace import names as words
from millrace_infra.function import Function, Ground, Place
from millrace_infra.policy import Statement
from millrace_infra.secrets import ROTATED, ExistingSecrets
from millrace_infra.services.collector import namespace
from millrace_infra.terraform import CloudwatchEventRule, CloudwatchEventTarget, Construct

SCHEDULE: Final = "rate(1 hour)"
"""As often as the alarm looks; it is silent after three that are missing."""
NOUN: Final = "secret-age"


class SecretAge(Function):
    """The function and its schedule."""

    def __init__(
        self, scope: Construct, id: str, *, ground: Ground, place: Place, secrets: ExistingSecrets
    ) -> None:
        environment = ground.environment
        metrics = namespace(environment.suffix)
        super().__init__(
            scope,
            id,
            ground=ground,
            program="secret_age",
            noun=NOUN,
            description="Says how old each rotated secret is",
            place=place,
            variables={words.ENV_METRIC_NAMESPACE: metrics, **secrets.environment(*ROTATED)},
            grants={"secrets": [_describe(secrets)], "metric": [_tell(metrics)]},
        )
        name = environment.names.of(NOUN)
        rule = CloudwatchEventRule(
            self,
            "schedule",
            name=name,
            description="When the age of the rotated secrets is read",
            schedule_expression=SCHEDULE,
            force_destroy=True,
            tags={"Name": name},
        )
        allowed = self.let_call("events", source_arn=rule.arn)
        CloudwatchEventTarget(
            self, "target", rule=rule.name, target_id=NOUN, arn=self.function.arn, depends_on=[allowed]
        )


def _describe(secrets: ExistingSecrets) -> Statement:
    """When a secret was rotated, not what is in it."""
    return Statement(("secretsmanager:DescribeSecret",), tuple(secrets.arn(field) for field in ROTATED))


def _tell(metrics: str) -> Statement:
    return Statement(
        ("cloudwatch:PutMetricData",),
        ("*",),
        {"StringEquals": {"cloudwatch:namespace": metrics}},
        reason="CloudWatch knows no resource for what is put into it; the condition names the namespace",
    )
