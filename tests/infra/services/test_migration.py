"""The migration task: it is told all that its program asks for, and may read what that program opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace import names
from millrace.schema.__main__ import Place
from tests.infra.program import Program
from tests.infra.services.parts import containers, statements, variables


@pytest.mark.requirement("S-07")
def test_the_task_runs_a_program_that_is_there_and_tells_it_all_that_it_asks_for(
    platform: Program, tmp_path: Path
) -> None:
    container = containers(platform, "migrate")["migrate"]
    package = container["command"][-1]
    assert container["entryPoint"] + container["command"][:-1] == ["python", "-m"]
    assert (Path(__file__).parents[3] / "src" / Path(*package.split(".")) / "__main__.py").is_file()
    told = variables(platform, "migrate")
    assert told[names.ENV_DATABASE_CA_FILE] == names.DATABASE_CA_FILE
    ca = tmp_path / "ca.pem"
    ca.touch()
    place = Place.from_env(told | {names.ENV_DATABASE_CA_FILE: str(ca)})
    assert (place.name, place.user) == (names.DATABASE, names.DATABASE_MIGRATE)
    assert "database-master" in place.master_secret


@pytest.mark.requirement("S-13")
def test_the_task_may_read_the_masters_secret_and_sign_in_as_the_migration_and_no_more(
    platform: Program,
) -> None:
    found = statements(platform, "migrate/task/task-role")
    allowed = {action: one["Resource"] for one in found for action in one["Action"]}
    assert set(allowed) == {
        "rds-db:connect", "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "kms:Decrypt",
    }  # fmt: skip
    master = variables(platform, "migrate")[names.ENV_SECRET_DATABASE_MASTER]
    assert allowed["secretsmanager:GetSecretValue"] == [master]
    (user,) = allowed["rds-db:connect"]
    assert user.endswith(f"/{names.DATABASE_MIGRATE}")
    (opened,) = (one for one in found if one["Action"] == ["kms:Decrypt"])
    assert opened["Condition"]["StringEquals"]["kms:EncryptionContext:SecretARN"] == [master]


@pytest.mark.requirement("S-11")
def test_nobody_but_the_migration_and_the_rotation_may_read_the_masters_secret(platform: Program) -> None:
    master = variables(platform, "migrate")[names.ENV_SECRET_DATABASE_MASTER]
    readers = {
        resource.path.rpartition("/")[0]
        for resource, one in platform.policies()
        if "secretsmanager:GetSecretValue" in one["Action"] and master in one.get("Resource", ())
    }
    assert readers == {"migrate/task/task-role", "rotation/database-user/role"}


def test_the_images_hold_the_authorities_that_sign_the_databases_certificate() -> None:
    text = (Path(__file__).parents[3] / "containers" / "Dockerfile").read_text()
    runtime = text.partition("AS runtime\n")[2]
    assert f"/global-bundle.pem {names.DATABASE_CA_FILE}\n" in runtime
