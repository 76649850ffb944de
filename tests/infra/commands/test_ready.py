"""An account that is not ready: a sentence for each thing to do, exit code 2, and nothing is made of the platform."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_infra.images import need_docker
from millrace_infra.settings import Environment, load
from millrace_infra.terraform_run import need_terraform
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
    """A search path with what stands for Terraform: new enough, and with a state in which nothing is."""
    folder.mkdir()
    file = folder / "terraform"
    answers = """version) echo '{"terraform_version": "1.11.4"}';; output) echo '{}';; init) :;; *) exit 9;;"""
    file.write_text(f'#!/bin/sh\ncase "$1" in {answers} esac\n')
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


@pytest.mark.parametrize("verb", ["preflight", "plan", "deploy"])
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


@pytest.mark.parametrize("verb", ["preflight", "plan", "deploy"])
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


def test_without_docker_nothing_is_made_that_then_waits_for_its_images(
    aws: Aws, ready: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shutil.which
    monkeypatch.setattr(
        "shutil.which", lambda name, *rest, **named: None if name == "docker" else found(name, *rest, **named)
    )
    assert run(monkeypatch, "deploy", "--suffix", "t1") == 2
    assert capsys.readouterr().err == (
        "millrace_infra: docker: found 'nothing of that name on PATH', "
        "wanted Docker with buildx 0.15 or later, to copy images\n"
    )
    assert [path.name for path in Path().iterdir()] == ["environments"]
    assert made(aws, ready) == []


def test_who_has_the_images_already_needs_no_docker(
    aws: Aws, ready: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step is the program's, so this is as far as this test lets it go."""
    monkeypatch.setattr("millrace_infra.images._is_there", lambda *_: True)
    monkeypatch.setattr("shutil.which", lambda name, *_, **__: None if name == "docker" else f"/bin/{name}")
    need_docker(ready, aws.client("ecr", ready.region))


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ('{"terraform_version": "1.5.7"}', "found '1.5.7'"),
        ('{"terraform_version": "1.9.0"}', "found '1.9.0'"),
        ('{"terraform_version": "0.12"}', "found '0.12'"),
        ("nothing", "no answer to which version it is"),
        ('{"terraform_version": "next"}', "no answer to which version it is"),
    ],
)
@pytest.mark.parametrize("verb", ["bootstrap", "plan", "deploy", "outputs", "deployed", "destroy"])
def test_a_terraform_that_is_too_old_is_refused_before_anything_is_made(
    verb: str,
    says: str,
    found: str,
    aws: Aws,
    ready: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its ephemeral values and write-only arguments are of 1.11: the registry would be made, and then no more."""
    file = tmp_path / "bin" / "terraform"
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    assert run(monkeypatch, verb, "--suffix", "t1") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"millrace_infra: {file}: ")
    assert found in said
    assert said.endswith(", wanted Terraform 1.11 or later\n")
    assert made(aws, ready) == []


@pytest.mark.parametrize("version", ["1.11.0", "1.12.0-rc1", "2.0.0"])
def test_a_newer_terraform_will_do(version: str, tmp_path: Path) -> None:
    (tmp_path / "bin" / "terraform").write_text(f"""#!/bin/sh\necho '{{"terraform_version": "{version}"}}'\n""")
    need_terraform()
