"""No secret's value can reach the program, its state or its outputs: what would carry one is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.program import Program

CARRIERS = {
    "aws_api_gateway_api_key": "its value is always in the state",
    "aws_iam_access_key": "the secret key is in the state",
    "aws_iam_user_login_profile": "the password is in the state",
    "aws_secretsmanager_secret": "secrets exist before us, and outlive us",
    "aws_secretsmanager_secret_version": "the value is an argument",
    "aws_ssm_parameter": "the value is an argument",
    "aws_db_instance": "takes a password",
    "aws_key_pair": "no machine of ours is entered",
    "random_password": "its result is in the state",
    "random_string": "its result is in the state",
    "tls_private_key": "the key is in the state",
}
SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN")
READERS = {"aws_secretsmanager_secret_version", "aws_secretsmanager_random_password", "aws_ssm_parameter"}
"""Data sources that bring a value into the state. As an ephemeral block, the first is in none."""
NEVER_SET = {
    "password", "master_password", "auth_token", "passwords", "secret_string", "client_secret", "secret_access_key",
}  # fmt: skip
PLANTED = "planted-value-that-must-not-appear"


def settings_of(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from settings_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from settings_of(inner)


def names_a_secret(variable: str) -> bool:
    return any(word in variable for word in SECRET_WORDS) and not variable.endswith(("_ENDPOINT", "_NAME"))


@pytest.mark.requirement("S-11")
def test_no_kind_of_resource_that_carries_a_secret_is_used(stack: Program) -> None:
    assert not {resource.type for resource in stack} & set(CARRIERS)
    assert not set(stack.json.get("data", {})) & READERS
    assert set(stack.json.get("ephemeral", {})) <= {"aws_secretsmanager_secret_version"}


@pytest.mark.requirement("S-11")
def test_what_is_read_as_it_passes_ends_in_a_write_only_argument_alone(stack: Program) -> None:
    users = [
        (resource.path, key) for resource in stack for key, value in settings_of(dict(resource.body))
        if isinstance(value, str) and "ephemeral." in value
    ]  # fmt: skip
    assert all(key.endswith("_wo") for _, key in users)
    assert bool(users) == bool(stack.json.get("ephemeral"))
    assert "ephemeral." not in json.dumps(stack.json.get("output", {}))


@pytest.mark.requirement("S-11")
def test_no_password_is_an_argument(stack: Program) -> None:
    for resource in stack:
        for key, value in settings_of(dict(resource.body)):
            assert key not in NEVER_SET or not value, f"{resource.path}: {key}"


@pytest.mark.requirement("S-11")
def test_tasks_are_told_where_a_secret_is_and_not_what_it_is(stack: Program) -> None:
    """`secrets` would put a value into the task for its life, and a rotation would not reach it."""
    for definition in stack.of("aws_ecs_task_definition"):
        for container in json.loads(definition["container_definitions"]):
            assert not container.get("secrets"), definition.path
            for variable in container.get("environment") or ():
                if names_a_secret(variable["name"]):
                    assert variable["value"].startswith("${data.aws_secretsmanager_secret."), variable["name"]
    for function in stack.of("aws_lambda_function"):
        for name, value in ((function.get("environment") or {}).get("variables") or {}).items():
            if names_a_secret(name):
                assert "aws_secretsmanager_secret" in value or value.startswith("arn:"), name


@pytest.mark.requirement("S-11")
def test_no_variable_and_no_output_is_a_secret(stack: Program) -> None:
    for name in (*stack.json.get("variable", {}), *stack.json.get("output", {})):
        where = name.endswith(("_arn", "_arns"))  # where a secret is, not what it is
        assert where or not any(word in name for word in ("password", "secret", "token")), name
    assert set(stack.json.get("variable", {})) <= {
        f"image_{image}" for image in ("worker", "api", "dashboard", "collector")
    }


@pytest.mark.requirement("S-11")
def test_a_secret_of_the_machine_that_synthesizes_is_not_in_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, synthesize: Any
) -> None:
    """Planted wherever a program could pick one up by accident: the shell's environment."""
    from millrace_infra.app import build
    from millrace_infra.settings import load
    from tests.infra.conftest import FOLDER, SUFFIX

    before = synthesize("dev")[f"millrace-{SUFFIX}"].text
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "TF_VAR_password", "PGPASSWORD"):
        monkeypatch.setenv(name, PLANTED)
    build(load("dev", SUFFIX, folder=FOLDER), outdir=str(tmp_path)).synth()
    for file in tmp_path.rglob("*.json"):
        assert PLANTED not in file.read_text(), file.name
    assert (tmp_path / "stacks" / f"millrace-{SUFFIX}" / "cdk.tf.json").read_text() == before
