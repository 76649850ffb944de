"""An account that is not ready: a sentence for each thing to do, exit code 2, and nothing is made of the platform."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_infra.settings import Environment, load
from tests.infra.commands.test_verbs import IMAGES, run
from tests.infra.conftest import FOLDER
from tests.infra.cycle.deployment import Aws, secrets_of, with_what_exists
from tests.infra.emulator.server import CREDENTIALS, emulator

pytestmark = pytest.mark.requirement("S-25")


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with emulator() as address:
        yield Aws(address)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ready")


def with_terraform(folder: Path) -> str:
    """A search path with what stands for Terraform, as far as a verb asks whether it is there."""
    folder.mkdir()
    file = folder / "terraform"
    file.write_text("""#!/bin/sh\necho '{"terraform_version": "1.11.4"}'\n""")
    file.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def ready(aws: Aws, folder: Path) -> Environment:
    """An account that lacks nothing, and the environment that it is ready for."""
    settings = with_what_exists(aws, FOLDER, folder / "environments")
    environment = load("dev", "t1", folder=settings)
    aws.prepare(environment, secrets_of(environment))
    return environment


@pytest.fixture(autouse=True)
def _there(
    aws: Aws, ready: Environment, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As who calls a verb there: in a folder with the environments, signed in, Terraform on the path."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", with_terraform(tmp_path / "bin"))
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": aws.address, **IMAGES}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_PROFILE", "ENV", "ENVIRONMENT_SUFFIX"):
        monkeypatch.delenv(name, raising=False)


def made(aws: Aws, environment: Environment) -> list[str]:
    """Of what `deploy` makes first."""
    ecr = aws.client("ecr", environment.region)
    return [one["repositoryName"] for one in ecr.describe_repositories()["repositories"]]


def test_an_account_that_lacks_nothing_is_found_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "preflight", "--suffix", "t1") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert all(line.startswith("ok ") for line in said.out.splitlines())
    assert len(said.out.splitlines()) > 10


@pytest.mark.parametrize("verb", ["preflight", "deploy"])
def test_a_missing_secret_stops_it_with_nothing_done(
    verb: str,
    aws: Aws,
    ready: Environment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manager = aws.client("secretsmanager", ready.region)
    manager.delete_secret(SecretId=ready.secrets.database_user, ForceDeleteWithoutRecovery=True)
    try:
        assert run(monkeypatch, verb, "--suffix", "t1") == 2
    finally:
        value = secrets_of(ready)[ready.secrets.database_user]
        manager.create_secret(Name=ready.secrets.database_user, SecretString=value)
    assert capsys.readouterr().err.splitlines() == [
        f"millrace_infra: secret {ready.secrets.database_user}: found 'missing'; "
        "create it as JSON with username, password"
    ]
    assert [path.name for path in Path().iterdir()] == ["environments"]
    assert made(aws, ready) == []


@pytest.mark.parametrize("verb", ["preflight", "deploy"])
def test_each_thing_that_is_missing_has_a_sentence(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another suffix, whose secrets nobody made."""
    assert run(monkeypatch, verb, "--suffix", "t9") == 2
    said = capsys.readouterr().err.removeprefix("millrace_infra: ").splitlines()
    assert [line.partition(":")[0] for line in said] == [
        f"secret millrace/t9/{one}"
        for one in ("database-master", "database-user", "api-signing", "api-keys", "dashboard-oidc")
    ]
