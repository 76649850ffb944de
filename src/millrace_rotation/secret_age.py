"""Says once an hour how long ago each rotated secret was rotated, as a metric: a rotation that never begins is silent.

It reads when, never what: the values of the secrets are none of its business. A secret that was never rotated is as
old as it is itself. One that cannot be described fails the call, after the others have been told of.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from millrace import names

SECRETS: Final = {
    "database_user": names.ENV_SECRET_DATABASE_USER,
    "api_signing": names.ENV_SECRET_API_SIGNING,
    "api_keys": names.ENV_SECRET_API_KEYS,
}
"""The metric's label for a secret -> the variable that says where the secret is."""
DAY_S: Final = 86_400

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)


class SecretUnread(Exception):
    """The age of a secret is not known; the text says of which, and why."""


def report(
    secret_arns: Mapping[str, str], *, manager: Any, metrics: Any, namespace: str, now: datetime
) -> None:
    """One figure for each secret. `manager` and `metrics` are clients of boto3's."""
    ages, unread = {}, []
    for secret, arn in secret_arns.items():
        try:
            ages[secret] = age_days(manager.describe_secret(SecretId=arn), now)
        except Exception as error:  # whatever it is, the other secrets are told of
            log.exception("%s cannot be described", secret)
            unread.append(f"{secret}: {type(error).__name__}")
    if ages:
        metrics.put_metric_data(
            Namespace=namespace, MetricData=[_datum(secret, days, now) for secret, days in ages.items()]
        )
    if unread:
        raise SecretUnread("; ".join(unread))


def age_days(described: Mapping[str, Any], now: datetime) -> float:
    """Days since the last rotation that ended well, or since the secret was made."""
    since: datetime = described.get("LastRotatedDate") or described["CreatedDate"]
    return (now - since).total_seconds() / DAY_S


def _datum(secret: str, days: float, now: datetime) -> dict[str, Any]:
    return {
        "MetricName": names.METRIC_SECRET_AGE_DAYS,
        "Dimensions": [{"Name": names.LABEL_SECRET, "Value": secret}],
        "Timestamp": now,
        "Value": days,
    }


def handler(event: Mapping[str, Any], context: object) -> None:
    import boto3  # type: ignore[import-untyped, unused-ignore]

    report(
        {secret: os.environ[variable] for secret, variable in SECRETS.items()},
        manager=boto3.client("secretsmanager"),
        metrics=boto3.client("cloudwatch"),
        namespace=os.environ[names.ENV_METRIC_NAMESPACE],
        now=datetime.now(UTC),
    )
