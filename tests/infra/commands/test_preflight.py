"""Each thing that preflight asks of an account is found missing, with what to do, and then found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace_infra.preflight import Account, Finding, check_certificate, check_secrets, check_state, examine
from millrace_infra.settings import Environment

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
    assert {one.name for one in missing} >= {"state bucket", "certificate", "account stack: state key"}
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


@pytest.mark.parametrize(("function", "ok"), [("millrace-rotate-t1", True), ("millrace-rotate-other", False)])
def test_a_secret_that_another_suffix_rotates_is_refused(
    environment: Environment, function: str, ok: bool
) -> None:
    class Manager:
        class exceptions:  # noqa: N801
            ResourceNotFoundException = KeyError

        def describe_secret(self, **_: Any) -> dict[str, str]:
            return {"RotationLambdaARN": f"arn:aws:lambda:eu-central-1:123456789012:function:{function}"}

        def get_secret_value(self, **_: Any) -> dict[str, str]:
            return {"SecretString": '{"username": "u", "password": "p", "client_secret": "s"}'}

    found = list(check_secrets(Account(environment, lambda _: Manager())))
    assert {one.ok for one in found} == {ok}


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
