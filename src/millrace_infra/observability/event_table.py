"""The one table of events: what AWS says by itself, once, and a person must hear.

An event is no metric: nothing repeats it. So each has a rule, two topics to go to, and a queue for what could not
be delivered. Patterns name what is ours, because every suffix of an account hears the same bus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from millrace_infra.observability.alarm_row import Severity


@dataclass(frozen=True)
class Ours:
    """What the patterns name: ARNs and names of one deployment."""

    cluster_services_arn: str
    """`arn:…:service/{cluster}/*`"""
    deployment_app: str
    backup_vault: str
    secret_arns: Sequence[str]
    repositories: Sequence[str]
    key_arns: Sequence[str]


@dataclass(frozen=True)
class Event:
    """`pattern` as EventBridge takes it; `runbook` as in the alarm table."""

    name: str
    why: str
    severity: Severity
    runbook: str
    pattern: Mapping[str, Any]


ROTATION_EVENTS: Final = ("RotationFailed", "RotationAbandoned", "TestRotationFailed")
ROTATION_OFF: Final = ("CancelRotateSecret", "DeleteSecret")
KEY_LOST: Final = ("DisableKey", "ScheduleKeyDeletion")


def events(ours: Ours) -> list[Event]:
    """In the order of the flow of a deployment."""
    return [
        Event(
            "deployment-failed", "ECS gave up on a new revision, and went back to the one before.",
            "page", "deployment",
            {"source": ["aws.ecs"], "detail-type": ["ECS Deployment State Change"],
             "resources": [{"wildcard": ours.cluster_services_arn}],
             "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]}},
        ),
        Event(
            "blue-green-failed", "CodeDeploy stopped a deployment; traffic is back on the version before.",
            "page", "deployment",
            {"source": ["aws.codedeploy"], "detail-type": ["CodeDeploy Deployment State-change Notification"],
             "detail": {"application": [ours.deployment_app], "state": ["FAILURE", "STOP"]}},
        ),
        Event(
            "backup-failed", "A backup was not made, or not in its time.", "ticket", "backup",
            {"source": ["aws.backup"], "detail-type": ["Backup Job State Change"],
             "detail": {"backupVaultName": [ours.backup_vault], "state": ["FAILED", "ABORTED", "EXPIRED"]}},
        ),
        Event(
            "rotation-failed", "A secret was not rotated; the value before still works.", "page", "rotation",
            {"source": ["aws.secretsmanager"], "detail-type": ["AWS Service Event via CloudTrail"],
             "detail": {"eventName": list(ROTATION_EVENTS),
                        "additionalEventData": {"SecretId": list(ours.secret_arns)}}},
        ),
        Event(
            "rotation-off", "Somebody ended a secret's rotation, or deleted the secret.", "ticket", "rotation",
            {"source": ["aws.secretsmanager"], "detail-type": ["AWS API Call via CloudTrail"],
             "detail": {"eventName": list(ROTATION_OFF),
                        "requestParameters": {"secretId": list(ours.secret_arns)}}},
        ),
        Event(
            "key-lost", "A key was disabled or is to be deleted: what it encrypts cannot be read from then on.",
            "page", "keys",
            {"source": ["aws.kms"], "detail-type": ["AWS API Call via CloudTrail"],
             "detail": {"eventName": list(KEY_LOST), "resources": {"ARN": list(ours.key_arns)}}},
        ),
        Event(
            "image-vulnerable", "A scan found something critical or high in an image that may be deployed.",
            "ticket", "images",
            {"source": ["aws.ecr"], "detail-type": ["ECR Image Scan"],
             "detail": {"repository-name": list(ours.repositories), "scan-status": ["COMPLETE"],
                        "$or": [{"finding-severity-counts": {level: [{"numeric": [">", 0]}]}}
                                for level in ("CRITICAL", "HIGH")]}},
        ),
    ]  # fmt: skip
