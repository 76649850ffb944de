"""Who is told: one topic for what cannot wait and one for what can, and who may publish to them.

The key `alarms` encrypts both: CloudWatch cannot publish to a topic under the key that AWS manages. The key's
policy lets each publisher use it; the topics' policy says which publishers there are.
"""

from __future__ import annotations

from typing import Final

from millrace.names import PROJECT
from millrace_infra.observability.alarm_row import Severity
from millrace_infra.policy import Condition, Statement, document
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, SnsTopic, SnsTopicPolicy, SnsTopicSubscription

SEVERITIES: Final[tuple[Severity, ...]] = ("page", "ticket")
PUBLISHERS: Final = {
    "cloudwatch.amazonaws.com": "arn:aws:cloudwatch:{region}:{account}:alarm:" + PROJECT + "-*-{suffix}",
    "events.amazonaws.com": "arn:aws:events:{region}:{account}:rule/" + PROJECT + "-*-{suffix}",
    "budgets.amazonaws.com": "",
    "backup.amazonaws.com": "",
}
"""Service -> what of it may publish; a budget and a vault name no source that could be told by the suffix."""


class Topics(Construct):
    """`topics["page"]` is the ARN. A recipient confirms each subscription once, by the link in the first mail."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, key: Key) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._topics = {severity: self._topic(severity, key) for severity in SEVERITIES}

    def __getitem__(self, severity: Severity) -> str:
        return self._topics[severity].arn

    @property
    def names(self) -> dict[str, str]:
        """By severity, as CloudWatch's metrics know them."""
        return {severity: self._environment.names.of(severity) for severity in SEVERITIES}

    def _topic(self, severity: Severity, key: Key) -> SnsTopic:
        name = self._environment.names.of(severity)
        topic = SnsTopic(
            self, severity, name=name, kms_master_key_id=key.arn, display_name=name, tags={"Name": name}
        )
        statements = [self._publish(topic.arn, *publisher) for publisher in PUBLISHERS.items()]
        SnsTopicPolicy(
            self, f"{severity}-policy", arn=topic.arn, policy=document(*statements, _no_plain_text(topic.arn))
        )
        for number, recipient in enumerate(self._environment.settings.alarm_recipients):
            SnsTopicSubscription(
                self, f"{severity}-{number}", topic_arn=topic.arn, protocol="email", endpoint=recipient
            )
        return topic

    def _publish(self, topic_arn: str, service: str, source: str) -> Statement:
        environment = self._environment
        account = environment.settings.account_id
        condition: dict[str, dict[str, str]] = {"StringEquals": {"aws:SourceAccount": account}}
        if source:
            arn = source.format(region=environment.region, account=account, suffix=environment.suffix)
            condition["ArnLike"] = {"aws:SourceArn": arn}
        return Statement(("sns:Publish",), (topic_arn,), condition, principals={"Service": service})


def _no_plain_text(topic_arn: str) -> Statement:
    insecure: Condition = {"Bool": {"aws:SecureTransport": "false"}}
    return Statement(("sns:Publish",), (topic_arn,), insecure, "Deny", principals={"AWS": "*"})
