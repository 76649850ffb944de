"""`python -m millrace.schema` as its task runs it: from a database that knows nobody but a master, and again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from millrace import names
from millrace.errors import SettingError
from millrace.schema import HEAD
from millrace.schema.__main__ import Place, main, run
from tests.integration.migration.conftest import REGION, Shared
from tests.integration.migration.tls_door import authority_and_certificate, tls_door
from tests.integration.rotation.conftest import MASTER_PASSWORD

ROLES = {*names.DATABASE_USERS, names.DATABASE_OWNER, names.DATABASE_MIGRATE, names.DATABASE_READONLY}


def as_a_task(shared: Shared, **told: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, told what the task definition tells, and nothing of this shell's."""
    ours = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    command = [sys.executable, "-m", "millrace.schema"]
    return subprocess.run(
        command, env=ours | shared.environ | told, capture_output=True, text=True, check=False
    )


@pytest.mark.requirement("S-12")
def test_a_server_that_another_authority_vouches_for_is_told_no_password(
    shared: Shared, tmp_path: Path
) -> None:
    theirs, _ = authority_and_certificate(tmp_path, "127.0.0.1")
    before = shared.users()
    ended = as_a_task(shared, **{names.ENV_DATABASE_CA_FILE: str(theirs)})
    assert ended.returncode == 1
    assert "certificate verify failed" in ended.stderr
    assert shared.users() == before


@pytest.mark.requirement("S-12")
def test_a_server_with_another_ones_certificate_is_told_no_password(shared: Shared, tmp_path: Path) -> None:
    ca, certificate = authority_and_certificate(tmp_path, "127.0.0.1")
    address = shared.environ[names.ENV_DATABASE_HOST].removesuffix("77") + "78"
    before = shared.users()
    with tls_door(address, certificate, shared.server.folder / ".s.PGSQL.5432"):
        ended = as_a_task(shared, **{names.ENV_DATABASE_CA_FILE: str(ca), names.ENV_DATABASE_HOST: address})
    assert ended.returncode == 1
    assert "does not match host name" in ended.stderr
    assert shared.users() == before


@pytest.mark.requirement("S-07")
def test_the_first_run_makes_roles_and_schema_and_a_second_changes_nothing(shared: Shared) -> None:
    first, second = as_a_task(shared), as_a_task(shared)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == f"schema: brought to {HEAD}"
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines() == ["roles: all there", f"schema: was at {HEAD}"]
    assert shared.users() == ROLES | {names.DATABASE_MASTER}
    assert shared.asked("SELECT rolname FROM pg_roles WHERE rolname LIKE 'millrace\\_%' AND rolsuper") == []
    owners = shared.asked(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    assert owners == [(names.DATABASE_OWNER,)]
    assert MASTER_PASSWORD not in first.stdout + first.stderr + second.stdout + second.stderr


@pytest.mark.requirement("S-07")
def test_a_run_that_was_cut_off_after_the_roles_is_taken_up(shared: Shared) -> None:
    assert as_a_task(shared).returncode == 0
    with psycopg.connect(shared.server.url(names.DATABASE), autocommit=True) as superuser:
        superuser.execute("DROP SCHEMA public CASCADE")
        superuser.execute(f"CREATE SCHEMA public AUTHORIZATION {names.DATABASE_MASTER}".encode())
    ended = as_a_task(shared)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["roles: all there", f"schema: brought to {HEAD}"]


@pytest.mark.requirement("S-13")
def test_the_migration_signs_in_by_a_token_for_its_own_user_and_this_server(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    monkeypatch.setattr("millrace.schema.__main__.migrate", lambda url: bool(used.append(url)))
    for name, value in shared.environ.items():
        monkeypatch.setenv(name, value)
    run(Place.from_env(shared.environ), boto3.Session(region_name=REGION).client, lambda _: None)
    (given,) = (conninfo_to_dict(url) for url in used)
    where, _, query = str(given["password"]).partition("/?")
    asked = parse_qs(query)
    assert where == f"{shared.environ[names.ENV_DATABASE_HOST]}:5432"
    assert (asked["Action"], asked["DBUser"]) == (["connect"], [names.DATABASE_MIGRATE])
    assert f"/{REGION}/rds-db/aws4_request" in asked["X-Amz-Credential"][0]
    assert (given["user"], given["sslmode"]) == (names.DATABASE_MIGRATE, "verify-full")


@pytest.mark.requirement("S-07")
@pytest.mark.parametrize(
    "missing",
    [names.ENV_DATABASE_HOST, names.ENV_DATABASE_NAME, names.ENV_DATABASE_USER, names.ENV_DATABASE_CA_FILE,
     names.ENV_SECRET_DATABASE_MASTER, "AWS_REGION"],
)  # fmt: skip
def test_a_variable_that_is_missing_is_named(
    shared: Shared, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {name: value for name, value in shared.environ.items() if name != missing}
    assert main(told) == 2
    assert capsys.readouterr().err.startswith(f"millrace.schema: {missing}: found '', wanted ")


def test_authorities_that_are_not_there_are_refused_before_anything_is_asked(shared: Shared) -> None:
    with pytest.raises(SettingError, match="a file that is there"):
        Place.from_env(shared.environ | {names.ENV_DATABASE_CA_FILE: "/nowhere.pem"})


@pytest.mark.requirement("S-11")
@pytest.mark.parametrize(
    "value", ["no JSON", "[]", '{"username": "millrace_master"}', '{"username": "me", "password": "p"}']
)
def test_a_secret_that_is_not_the_masters_is_refused_and_not_shown(shared: Shared, value: str) -> None:
    class Manager:
        def get_secret_value(self, **_: Any) -> dict[str, str]:
            return {"SecretString": value}

    with pytest.raises(
        SettingError, match=r"JSON with username and password|wanted millrace_master"
    ) as refused:
        run(Place.from_env(shared.environ), lambda _: Manager(), lambda _: None)
    assert value not in str(refused.value)
