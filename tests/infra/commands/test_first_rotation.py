"""After the migration: each secret is rotated once for this database, and it is waited for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from millrace_infra.first_rotation import (
    CURRENT,
    PENDING,
    POLL_S,
    ROTATION_S_MAX,
    FirstRotation,
    RotationFailed,
)

BORN = datetime(2026, 1, 5, tzinfo=UTC)
SECRETS = ["arn:aws:secretsmanager:r:1:secret:user", "arn:aws:secretsmanager:r:1:secret:keys"]
OUTPUTS: dict[str, Any] = {"rotated_secret_arns": SECRETS, "database_cluster": "c"}


class Refused(Exception):
    pass


class FakeAws:
    """RDS, and a Secrets Manager whose functions take `polls` looks to put a version in force; None: for ever."""

    exceptions = SimpleNamespace(InvalidRequestException=Refused)

    def __init__(self, *, rotated: dict[str, datetime] | None = None, polls: int | None = 0) -> None:
        self.rotated = rotated or {}
        self.polls = polls
        self.asked: list[str] = []
        self.pending: set[str] = set()
        self.refuses = False

    def __call__(self, service: str) -> FakeAws:
        return self

    def describe_db_clusters(self, **_: Any) -> dict[str, Any]:
        return {"DBClusters": [{"ClusterCreateTime": BORN}]}

    def describe_secret(self, SecretId: str) -> dict[str, Any]:  # noqa: N803
        if SecretId in self.pending and self.polls is not None:
            self.polls -= 1
            if self.polls < 0:
                self.pending.discard(SecretId)
                self.rotated[SecretId] = BORN + timedelta(hours=1)
        stages = {"old": [] if SecretId not in self.pending else [CURRENT]}
        stages["new"] = [PENDING] if SecretId in self.pending else [CURRENT]
        found: dict[str, Any] = {"VersionIdsToStages": stages}
        return found | ({"LastRotatedDate": self.rotated[SecretId]} if SecretId in self.rotated else {})

    def rotate_secret(self, SecretId: str, RotateImmediately: bool) -> dict[str, str]:  # noqa: N803
        assert RotateImmediately
        self.asked.append(SecretId)
        if self.refuses:
            raise Refused("no")
        self.pending.add(SecretId)
        return {"VersionId": "new"}


def rotation(aws: FakeAws) -> tuple[FirstRotation, list[float]]:
    slept: list[float] = []
    return FirstRotation(OUTPUTS, aws, lambda _: None, slept.append), slept


@pytest.mark.requirement("S-11")
def test_each_secret_is_rotated_once_however_often_it_is_deployed() -> None:
    aws = FakeAws()
    run, _ = rotation(aws)
    run.run()
    run.run()
    assert aws.asked == SECRETS


@pytest.mark.requirement("S-11")
def test_a_rotation_for_a_former_database_does_not_count() -> None:
    aws = FakeAws(rotated={SECRETS[0]: BORN - timedelta(days=1), SECRETS[1]: BORN + timedelta(days=1)})
    rotation(aws)[0].run()
    assert aws.asked == SECRETS[:1]


def test_it_waits_until_the_new_version_is_in_force() -> None:
    aws = FakeAws(polls=2)
    run, slept = rotation(aws)
    run.run()
    assert slept == [POLL_S, POLL_S]
    assert not aws.pending


def test_one_that_is_under_way_already_is_waited_for() -> None:
    aws = FakeAws(polls=3)
    aws.pending.update(SECRETS[:1])
    aws.refuses = True
    aws.rotated = {SECRETS[1]: BORN}
    run, slept = rotation(aws)
    run.run()
    assert slept
    assert not aws.pending


def test_one_that_cannot_begin_says_why() -> None:
    aws = FakeAws()
    aws.refuses = True
    with pytest.raises(RotationFailed, match=r"secret:user can not be rotated: no"):
        rotation(aws)[0].run()


@pytest.mark.parametrize("missing", list(OUTPUTS))
def test_a_platform_of_another_version_is_named_as_such(missing: str) -> None:
    outputs = {name: value for name, value in OUTPUTS.items() if name != missing}
    aws = FakeAws()
    with pytest.raises(RotationFailed, match=f"no output {missing}: .* deploy it again"):
        FirstRotation(outputs, aws, lambda _: None, lambda _: None).run()
    assert aws.asked == []


def test_one_that_does_not_end_stops_the_deployment_and_says_what_holds() -> None:
    run, slept = rotation(FakeAws(polls=None))
    with pytest.raises(RotationFailed, match="the value before still is"):
        run.run()
    assert sum(slept) == pytest.approx(ROTATION_S_MAX)
