"""Each thing that preflight asks of an account is found missing, with what to do, and then found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace_infra.preflight import (
    Account,
    Finding,
    check_account_stack,
    check_certificate,
    check_secrets,
    check_shards,
    check_state,
    examine,
    rotation_function,
)
from millrace_infra.secrets import ROTATED
from millrace_infra.settings import Environment, load
from tests.infra.conftest import FOLDER, Synthesize

Clients = Callable[[str], Any]


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in findings}


def of_account(environment: Environment, account_id: str) -> Environment:
    settings = environment.settings.model_copy(update={"account_id": account_id})
    return dataclasses.replace(environment, settings=settings)


def test_wrong_credentials_are_all_that_is_said(environment: Environment, client: Clients) -> None:
    found = list(examine(Account(of_account(environment, "999999999999"), client)))
    assert [one.name for one in found] == ["credentials"]
    assert not found[0].ok
    assert "999999999999" in found[0].advice


def test_no_credentials_are_a_finding_and_no_traceback(environment: Environment, client: Clients) -> None:
    def nobody(_: str) -> Any:
        raise RuntimeError("Unable to locate credentials")

    assert [one.found for one in examine(Account(environment, nobody))] == ["Unable to locate credentials"]


def test_every_check_of_an_empty_account_says_what_to_do(environment: Environment, client: Clients) -> None:
    found = list(examine(Account(environment, client)))
    missing = [one for one in found if not one.ok]
    assert {one.name for one in missing} >= {
        "state bucket", "certificate", "account stack: state key", "account stack: boundary of roles",
    }  # fmt: skip
    assert all(one.advice for one in missing)


def test_a_state_bucket_is_found(environment: Environment, client: Clients) -> None:
    where = {"LocationConstraint": environment.region}
    client("s3").create_bucket(
        Bucket="millrace-state-123456789012-eu-central-1", CreateBucketConfiguration=where
    )
    assert [one.ok for one in check_state(Account(environment, client))] == [True]


@pytest.mark.requirement("S-11")
def test_a_secret_must_be_there_with_its_fields_and_be_rotated_by_nobody_else(
    environment: Environment, client: Clients
) -> None:
    manager, account = client("secretsmanager"), Account(environment, client)
    name = f"secret {environment.secrets.database_user}"
    assert by_name(list(check_secrets(account)))[name].found == "missing"
    manager.create_secret(Name=environment.secrets.database_user, SecretString=json.dumps({"username": "u"}))
    assert by_name(list(check_secrets(account)))[name].advice == "add password to its JSON"
    value = json.dumps({"username": "u", "password": "never-shown"})
    manager.put_secret_value(SecretId=environment.secrets.database_user, SecretString=value)
    found = by_name(list(check_secrets(account)))
    assert found[name].ok
    assert "never-shown" not in str(found)


def test_the_state_s_key_is_found_behind_a_page_of_others(environment: Environment, client: Clients) -> None:
    """KMS lists 50 aliases a page."""

    class Kms:
        def get_paginator(self, operation: str) -> Kms:
            assert operation == "list_aliases"
            return self

        def paginate(self) -> list[dict[str, Any]]:
            pages = [["alias/a"] * 50, ["alias/millrace-state"]]
            return [{"Aliases": [{"AliasName": name} for name in page]} for page in pages]

    found = by_name(
        list(check_account_stack(Account(environment, lambda one: Kms() if one == "kms" else client(one))))
    )
    assert found["account stack: state key"].ok


class Manager:
    """Five secrets that are there, each rotated by `function`; `opened` are those whose value was asked for."""

    class exceptions:  # noqa: N801
        ResourceNotFoundException = KeyError

    def __init__(
        self, function: str = "", *, username: str = "millrace_master", stage: str = "AWSCURRENT",
        password: object = "good-enough",
    ) -> None:  # fmt: skip
        self.function, self.username, self.stage, self.password = function, username, stage, password
        self.opened: list[str] = []

    def describe_secret(self, **_: Any) -> dict[str, Any]:
        lambdas = "arn:aws:lambda:eu-central-1:123456789012:function"
        rotated = {"RotationLambdaARN": f"{lambdas}:{self.function}"} if self.function else {}
        return rotated | {"VersionIdsToStages": {"v": [self.stage]}}

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803
        self.opened.append(SecretId.rpartition("/")[2])
        content = {"username": self.username, "password": self.password, "client_secret": "s"}
        return {"SecretString": json.dumps(content)}


@pytest.mark.parametrize(
    ("function", "ours"),
    [("millrace-rotate-database-user-t1", "database-user"), ("millrace-rotate-database-user-a-t1", ""),
     ("other-t1", ""), ("millrace-rotate-database-user-t2", "")],
)  # fmt: skip
def test_a_secret_that_anything_but_its_own_function_of_this_suffix_rotates_is_refused(
    environment: Environment, function: str, ours: str
) -> None:
    found = list(check_secrets(Account(environment, lambda _: Manager(function))))
    assert [one.name.rpartition("/")[2] for one in found if one.ok] == [ours] * bool(ours)


def test_the_functions_that_may_rotate_are_those_that_the_program_makes(
    environment: Environment, synthesize: Synthesize
) -> None:
    program = synthesize("dev")["millrace-t1"]
    rotating = [program.follow(one["rotation_lambda_arn"]) for one in program.of("aws_secretsmanager_secret_rotation")]
    made = {one["function_name"] for one in rotating if one is not None}
    assert {rotation_function(environment, field) for field in ROTATED} == made


@pytest.mark.requirement("S-13")
def test_only_the_secrets_that_a_person_fills_are_opened(environment: Environment) -> None:
    manager = Manager()
    assert all(one.ok for one in check_secrets(Account(environment, lambda _: manager)))
    assert manager.opened == ["database-master", "database-user", "dashboard-oidc"]


def test_the_master_s_secret_names_the_cluster_s_master(environment: Environment) -> None:
    found = list(check_secrets(Account(environment, lambda _: Manager(username="admin"))))
    assert [(one.name.rpartition("/")[2], one.found) for one in found if not one.ok] == [
        ("database-master", "of user admin")
    ]


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize(
    ("password", "ok"),
    [("x" * 8, True), ("x" * 41, True), ("!~#$%&'()*+,-.:;", True), ("x" * 7, False), ("x" * 42, False),
     ("never/shown", False), ('never"shown', False), ("never@shown", False), ("never shown", False),
     ("nevershöwn", False), (12345678, False), (None, False)],
)  # fmt: skip
def test_a_master_s_password_that_aurora_would_refuse_half_way_is_found_and_not_shown(
    environment: Environment, password: object, ok: bool
) -> None:
    found = list(check_secrets(Account(environment, lambda _: Manager(password=password))))
    faults = {one.name.rpartition("/")[2]: one for one in found if not one.ok}
    assert set(faults) == (set() if ok else {"database-master"}), "what the services' user has is rotated away"
    assert "shown" not in str(found)
    if not ok:
        assert "8 to 41 characters" in faults["database-master"].advice


def test_a_secret_that_never_got_a_value_is_refused(environment: Environment) -> None:
    found = list(check_secrets(Account(environment, lambda _: Manager(stage="AWSPENDING"))))
    assert {one.found for one in found} == {"without a value"}


@pytest.mark.parametrize(("own", "ok"), [(0, False), (25, False), (26, True), (30, True)])
def test_an_upgrade_does_not_want_the_shards_of_its_own_stream_twice(own: int, ok: bool) -> None:
    environment = load("us-east-1", "t1", folder=FOLDER)
    assert environment.settings.stream.shards == 26

    class Kinesis:
        class exceptions:  # noqa: N801
            ResourceNotFoundException = KeyError

        def describe_limits(self) -> dict[str, int]:
            return {"ShardLimit": 200, "OpenShardCount": 200}

        def describe_stream_summary(self, StreamName: str) -> dict[str, Any]:  # noqa: N803
            if not own:
                raise KeyError(StreamName)
            assert StreamName == "millrace-stream-t1"
            return {"StreamDescriptionSummary": {"OpenShardCount": own}}

    assert [one.ok for one in check_shards(Account(environment, lambda _: Kinesis()))] == [ok]


@pytest.mark.parametrize(
    ("certificate", "ok"),
    [
        ({"Status": "ISSUED", "DomainName": "*.dev.millrace.example.com"}, [True, True]),
        ({"Status": "PENDING_VALIDATION", "DomainName": "*.dev.millrace.example.com"}, [False, True]),
        ({"Status": "ISSUED", "DomainName": "api.dev.millrace.example.com"}, [True, False]),
    ],
)
def test_a_certificate_is_issued_and_names_both_doors(
    environment: Environment, certificate: dict[str, Any], ok: list[bool]
) -> None:
    class Acm:
        class exceptions:  # noqa: N801
            ResourceNotFoundException = KeyError

        def describe_certificate(self, **_: Any) -> dict[str, Any]:
            return {"Certificate": certificate}

    assert [one.ok for one in check_certificate(Account(environment, lambda _: Acm()))] == ok
