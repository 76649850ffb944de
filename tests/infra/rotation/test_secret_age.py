"""The age of the rotated secrets: what is said of them, to whom, and that nothing more may be read or told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from millrace import names
from millrace_infra.secrets import ROTATED, VARIABLES
from millrace_rotation import secret_age
from tests.infra.conftest import SUFFIX
from tests.infra.observability.functions import NOW, Metrics
from tests.infra.program import Program
from tests.infra.rotation.test_rotation import AGE, UNOWNED, function, grants, program

__all__ = ["program"]
pytestmark = pytest.mark.requirement("S-11")
ARNS = {secret: f"arn:{secret}" for secret in secret_age.SECRETS}


class Manager:
    """Secrets Manager, as far as this goes. Whom it does not know, it does not find."""

    def __init__(self, **dates: datetime | None) -> None:
        self._dates = {"LastRotatedDate": None, "CreatedDate": NOW - timedelta(days=400)} | dates
        self.lost: set[str] = set()

    def describe_secret(self, **who: Any) -> dict[str, Any]:
        if who["SecretId"] in self.lost:
            raise RuntimeError("ResourceNotFoundException")
        return {name: date for name, date in self._dates.items() if date is not None}


def told(manager: Manager) -> Metrics:
    metrics = Metrics()
    secret_age.report(ARNS, manager=manager, metrics=metrics, namespace="Millrace/x", now=NOW)
    return metrics


def days(metrics: Metrics) -> dict[str, float]:
    return {
        datum["Dimensions"][0]["Value"]: datum["Value"]
        for call in metrics.put
        for datum in call["MetricData"]
    }


def test_a_secret_is_as_old_as_its_last_rotation() -> None:
    metrics = told(Manager(LastRotatedDate=NOW - timedelta(days=32, hours=12)))
    assert days(metrics) == dict.fromkeys(ROTATED, 32.5)
    assert [call["Namespace"] for call in metrics.put] == ["Millrace/x"]


def test_a_secret_that_was_never_rotated_is_as_old_as_it_is() -> None:
    """Its rotation may never have begun: that is what nobody else tells."""
    assert days(told(Manager())) == dict.fromkeys(ROTATED, 400)


def test_a_secret_that_cannot_be_described_fails_the_call_and_hides_no_other() -> None:
    manager, metrics = Manager(), Metrics()
    manager.lost = {ARNS["api_signing"]}
    with pytest.raises(secret_age.SecretUnread, match="api_signing: RuntimeError"):
        secret_age.report(ARNS, manager=manager, metrics=metrics, namespace="n", now=NOW)
    assert set(days(metrics)) == {"database_user", "api_keys"}


def test_the_function_asks_secrets_manager_and_tells_cloudwatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through boto3, whose client refuses a parameter that AWS does not know."""
    moto, boto3 = pytest.importorskip("moto"), pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv(names.ENV_METRIC_NAMESPACE, f"Millrace/{SUFFIX}")
    with moto.mock_aws():
        manager = boto3.client("secretsmanager")
        for secret, variable in secret_age.SECRETS.items():
            monkeypatch.setenv(variable, manager.create_secret(Name=secret, SecretString="{}")["ARN"])
        secret_age.handler({}, None)
        found = boto3.client("cloudwatch").list_metrics(Namespace=f"Millrace/{SUFFIX}")["Metrics"]
    told = {(one["MetricName"], one["Dimensions"][0]["Value"]) for one in found}
    assert told == {(names.METRIC_SECRET_AGE_DAYS, secret) for secret in ROTATED}


def test_every_rotated_secret_is_told_of_under_the_name_that_the_alarms_have() -> None:
    assert {field: VARIABLES[field] for field in ROTATED} == secret_age.SECRETS


def test_the_function_is_called_every_hour_by_its_own_schedule_alone(program: Program) -> None:
    schedule = program.at(f"rotation/{AGE}/schedule")
    assert schedule["schedule_expression"] == "rate(1 hour)"
    assert schedule["name"] == f"millrace-{AGE}-{SUFFIX}"
    target = program.at(f"rotation/{AGE}/target")
    assert program.follow(target["rule"]) == schedule
    assert program.follow(target["arn"]) == function(program, AGE)
    permission = program.at(f"rotation/{AGE}/permission")
    assert permission["principal"] == "events.amazonaws.com"
    assert permission["source_account"] == "123456789012"
    assert program.follow(permission["source_arn"]) == schedule
    assert "aws_lambda_permission" in " ".join(target["depends_on"])


@pytest.mark.requirement("S-13")
def test_the_function_reads_no_value_and_tells_one_namespace(program: Program) -> None:
    found = grants(program, AGE)
    secrets = [one for one in found if any(action.startswith("secretsmanager:") for action in one["Action"])]
    (described,) = secrets
    assert described["Action"] == ["secretsmanager:DescribeSecret"]
    assert len(described["Resource"]) == len(ROTATED)
    (put,) = [one for one in found if "cloudwatch:PutMetricData" in one["Action"]]
    assert put["Action"] == ["cloudwatch:PutMetricData"]
    assert put["Condition"] == {"StringEquals": {"cloudwatch:namespace": f"Millrace/{SUFFIX}"}}
    for one in found:
        if "*" in one["Resource"]:
            assert set(one["Action"]) <= UNOWNED | {"cloudwatch:PutMetricData"}
        assert not any(action.startswith("kms:") and one["Resource"] == ["*"] for action in one["Action"])


def test_the_function_is_told_where_the_secrets_are_and_where_to_tell(program: Program) -> None:
    told = function(program, AGE)["environment"]["variables"]
    assert set(told) == {names.ENV_METRIC_NAMESPACE, *secret_age.SECRETS.values()}
    assert told[names.ENV_METRIC_NAMESPACE] == f"Millrace/{SUFFIX}"
    assert {told[VARIABLES[field]] for field in ROTATED} == set(
        next(one for one in grants(program, AGE) if "secretsmanager:DescribeSecret" in one["Action"])[
            "Resource"
        ]
    )
