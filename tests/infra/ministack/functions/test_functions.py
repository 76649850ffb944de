"""The functions as the program wires them: zip, handler, variables, role, and their own client of PostgreSQL in TLS.

What a step does, and that it may be cut short at any call, is `tests/integration/rotation`; here is that it gets
what it needs and may what it must.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace import names
from tests.infra.ministack.functions.conftest import Made
from tests.infra.ministack.functions.function import Function, StepFailed
from tests.infra.ministack.roles.account import Account
from tests.integration.rotation.conftest import Database, token
from tests.integration.rotation.faults import STEPS
from tests.integration.rotation.tls import certificate

pytestmark = [pytest.mark.long, pytest.mark.requirement("S-11")]

NOUNS = ("database-user", "api-signing", "api-keys")
CREATE, SET, TEST, FINISH = STEPS
REPEATED = (CREATE, CREATE, SET, CREATE, SET, TEST, SET, TEST, FINISH, FINISH, TEST, CREATE)


def value(function: Function, stage: str = "AWSCURRENT") -> dict[str, Any]:
    manager = function.account.root("secretsmanager")
    found = manager.get_secret_value(SecretId=function.secret_arn, VersionStage=stage)
    content: dict[str, Any] = json.loads(found["SecretString"])
    return content


def rotate(function: Function, steps: tuple[str, ...] = STEPS) -> str:
    """A rotation to its end. Secrets Manager then leaves AWSPENDING on this version at most, and takes it away with
    the next one; the emulator would leave it on every version that ever had it."""
    this = token()
    for name in steps:
        function.step(name, this)
    function.account.root("secretsmanager").update_secret_version_stage(
        SecretId=function.secret_arn, VersionStage="AWSPENDING", RemoveFromVersionId=this
    )
    return this


def version_of(function: Function, stage: str = "AWSCURRENT") -> str:
    known = function.account.root("secretsmanager").describe_secret(SecretId=function.secret_arn)
    (found,) = (one for one, labels in known["VersionIdsToStages"].items() if stage in labels)
    return str(found)


def test_the_database_users_take_turns_and_both_are_the_owner(function: Made, cluster: Database) -> None:
    rotating = function("database-user")
    users = []
    for steps in (STEPS, REPEATED, STEPS):
        assert rotate(rotating, steps) == version_of(rotating)
        users.append(value(rotating)["username"])
        with cluster.connect(json.dumps(value(rotating))) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (names.DATABASE_OWNER,)
    assert users == [users[0], users[1], users[0]]
    assert set(users) == set(names.DATABASE_USERS)
    cluster.connect(json.dumps(value(rotating, "AWSPREVIOUS"))).close()


def test_the_signing_secret_keeps_the_value_before(function: Made) -> None:
    rotating = function("api-signing")
    rotate(rotating)
    before = value(rotating)
    assert rotate(rotating, REPEATED) == version_of(rotating)
    assert value(rotating)["previous"] == before["current"] != value(rotating)["current"]


def test_the_next_api_key_joins_the_plan_and_the_one_before_the_last_goes(
    function: Made, at: Account
) -> None:
    rotating = function("api-keys")
    gateway, plan = at.root("apigateway"), at.found("gateway/plan", "id")
    somebodys = gateway.create_api_key(name="millrace-key-of-a-person", enabled=True)["id"]
    values = []
    for steps in (STEPS, REPEATED, STEPS):
        rotate(rotating, steps)
        values.append(value(rotating)["current"])
    everywhere = gateway.get_api_keys(includeValues=True, limit=500)["items"]
    joined = [one["id"] for one in gateway.get_usage_plan_keys(usagePlanId=plan)["items"]]
    assert values[0] not in [one["value"] for one in everywhere]
    assert set(values[1:]) <= {one["value"] for one in everywhere if one["id"] in joined}
    assert somebodys in [one["id"] for one in everywhere]
    made = next(one for one in everywhere if one["value"] == values[2])
    assert made["tags"].items() >= json.loads(rotating.variables[names.ENV_TAGS]).items()


@pytest.mark.parametrize("noun", NOUNS)
def test_each_variable_is_needed(noun: str, function: Made, cluster: Database) -> None:
    """One that nothing reads would be wiring that nobody checks."""
    for name in function(noun).variables:
        lacking = function(noun, changed={name: None})
        before = version_of(lacking)
        with pytest.raises(StepFailed, match=f"KeyError: '{name}'"):
            rotate(lacking)
        assert version_of(lacking) == before


@pytest.mark.parametrize(
    ("noun", "another"), [(NOUNS[0], NOUNS[1]), (NOUNS[1], NOUNS[2]), (NOUNS[2], NOUNS[0])]
)
def test_with_the_role_of_another_function_it_gets_nowhere(noun: str, another: str, function: Made) -> None:
    foreign = function(noun, role=f"rotate-{another}")
    before = version_of(foreign)
    with pytest.raises(StepFailed, match="AccessDenied"):
        rotate(foreign)
    assert version_of(foreign) == before


def test_a_database_that_nobody_vouches_for_hears_no_password(
    function: Made, cluster: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    another: Path = certificate(tmp_path_factory.mktemp("another"), "127.0.0.1")
    rotating = function("database-user", authority=another)
    before, this = value(rotating), token()
    rotating.step(CREATE, this)
    with pytest.raises(StepFailed, match="CERTIFICATE_VERIFY_FAILED"):
        rotating.step(SET, this)
    assert value(rotating) == before


def test_another_secrets_event_is_refused(
    function: Made, at: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotating = function("api-signing")
    monkeypatch.setattr(Function, "secret_arn", at.found("secrets/api-keys", "arn"))
    with pytest.raises(StepFailed, match="is not the secret that this function rotates"):
        rotating.step(CREATE, token())
