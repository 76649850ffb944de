"""Secrets: found by name, named to tasks by address, and never read here."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_infra.secrets import VARIABLES
from millrace_infra.settings.places import SecretNames
from tests.infra.conftest import SUFFIX
from tests.infra.program import Program
from tests.infra.stores.conftest import Alone

VALUES = (
    "aws_secretsmanager_secret_version", "aws_secretsmanager_random_password", "aws_ssm_parameter",
    "aws_kms_secrets",
)  # fmt: skip
"""Data sources that put a value into the state."""


def reader(stack: Any, environment: Any, keys: Any) -> None:
    from millrace_infra.policy import Role, trust
    from millrace_infra.secrets import ExistingSecrets

    secrets = ExistingSecrets(stack, "secrets", environment=environment)
    document = trust("ecs-tasks.amazonaws.com", account_id="123456789012")
    role = Role(stack, "worker", names=environment.names, name="worker", trust_policy=document)
    role.allow("secrets", secrets.read("database_user"), secrets.decrypt("database_user"))


@pytest.mark.requirement("S-11")
def test_every_secret_of_the_settings_is_found_by_its_name(platform: Program) -> None:
    found = {one["name"] for one in platform.data("aws_secretsmanager_secret")}
    names = SecretNames().of(SUFFIX).model_dump()
    assert found == {value for value in names.values() if isinstance(value, str)}
    assert set(VARIABLES) == {field for field, value in names.items() if isinstance(value, str)}


@pytest.mark.requirement("S-11")
def test_another_name_of_a_secret_is_a_setting(alone: Alone) -> None:
    program = alone(reader, secrets__api_signing="plant/{suffix}/signing")
    assert f"plant/{SUFFIX}/signing" in {one["name"] for one in program.data("aws_secretsmanager_secret")}


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize("kind", VALUES)
def test_no_data_source_puts_a_value_into_the_state(platform: Program, kind: str) -> None:
    assert platform.data(kind) == []


@pytest.mark.requirement("S-13")
def test_a_role_reads_the_secrets_that_it_names_and_opens_no_other(alone: Alone) -> None:
    read, decrypt = alone(reader).at("worker/may-secrets").statements()
    assert read["Action"] == ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
    assert decrypt["Action"] == ["kms:Decrypt"]
    condition = decrypt["Condition"]["StringEquals"]
    assert condition["kms:EncryptionContext:SecretARN"] == read["Resource"]
    assert condition["kms:ViaService"] == "secretsmanager.eu-central-1.amazonaws.com"
    assert len(read["Resource"]) == 1
    assert "database-user" in read["Resource"][0]
