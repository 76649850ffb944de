"""Events that a person must hear, each to its topic; what cannot be delivered waits in a queue that is watched."""

from __future__ import annotations

import json
from typing import Final

from millrace_infra.observability.alarms import RUNBOOKS
from millrace_infra.observability.event_table import Event, Ours, events
from millrace_infra.observability.topics import Topics
from millrace_infra.policy import Condition, Statement, document
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    CloudwatchEventRule,
    CloudwatchEventTarget,
    CloudwatchEventTargetDeadLetterConfig,
    CloudwatchEventTargetInputTransformer,
    CloudwatchEventTargetRetryPolicy,
    Construct,
    SqsQueue,
    SqsQueuePolicy,
)

KEPT_S: Final = 14 * 86_400
"""The longest that SQS keeps a message: a holiday and a day to look."""
RETRY_S: Final = 3_600
"""A topic that takes nothing for an hour will not take it: the queue has it then, and its alarm tells."""
RETRIES: Final = 30
QUEUE: Final = "undelivered"


class Events(Construct):
    """The rules of `event_table.py` with their target and the queue behind it."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, topics: Topics, key: Key, ours: Ours
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._queue = self._dead_letters(key)
        self._rules = {event.name: self._rule(event, topics) for event in events(ours)}
        self._admit()

    @property
    def rule_names(self) -> dict[str, str]:
        return {event: self._environment.names.of(event) for event in self._rules}

    @property
    def dead_letter_queues(self) -> dict[str, str]:
        return {"events": self._environment.names.of(QUEUE)}

    def _rule(self, event: Event, topics: Topics) -> CloudwatchEventRule:
        name = self._environment.names.of(event.name)
        rule = CloudwatchEventRule(
            self,
            event.name,
            name=name,
            description=event.why,
            event_pattern=json.dumps(event.pattern),
            force_destroy=True,
            tags={"Name": name},
        )
        CloudwatchEventTarget(
            self,
            f"{event.name}-target",
            rule=rule.name,
            target_id=event.severity,
            arn=topics[event.severity],
            input_transformer=_message(event),
            dead_letter_config=CloudwatchEventTargetDeadLetterConfig(arn=self._queue.arn),
            retry_policy=CloudwatchEventTargetRetryPolicy(
                maximum_event_age_in_seconds=RETRY_S, maximum_retry_attempts=RETRIES
            ),
        )
        return rule

    def _dead_letters(self, key: Key) -> SqsQueue:
        name = self._environment.names.of(QUEUE)
        return SqsQueue(
            self,
            "queue",
            name=name,
            kms_master_key_id=key.arn,
            message_retention_seconds=KEPT_S,
            tags={"Name": name, "data-class": "standard"},
        )

    def _admit(self) -> None:
        """These rules may leave a message here, and nobody may without TLS."""
        rules: Condition = {"ArnEquals": {"aws:SourceArn": [rule.arn for rule in self._rules.values()]}}
        insecure: Condition = {"Bool": {"aws:SecureTransport": "false"}}
        arn = self._queue.arn
        SqsQueuePolicy(
            self,
            "queue-policy",
            queue_url=self._queue.url,
            policy=document(
                Statement(("sqs:SendMessage",), (arn,), rules, principals={"Service": "events.amazonaws.com"}),
                Statement(("sqs:SendMessage",), (arn,), insecure, "Deny", principals={"AWS": "*"}),
            ),
        )


def _message(event: Event) -> CloudwatchEventTargetInputTransformer:
    """What it means and where to go on, before the event itself: it is read on a telephone."""
    said = f'"message": {json.dumps(event.why)}, "runbook": "{RUNBOOKS}/{event.runbook}.md"'
    return CloudwatchEventTargetInputTransformer(
        input_paths={"time": "$.time", "region": "$.region", "detail": "$.detail"},
        # EventBridge puts the values in, each with the quotes that it needs
        input_template=f'{{{said}, "time": <time>, "region": <region>, "detail": <detail>}}',
    )
