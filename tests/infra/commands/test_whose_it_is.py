"""A verb asks whose account and whose suffix it is before it reads or removes anything of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_infra.preflight import BEFORE_A_DEPLOYMENT, Account, check_profile
from millrace_infra.settings import Environment, load
from tests.infra.commands.test_ready import with_terraform
from tests.infra.commands.test_verbs import IMAGES, run
from tests.infra.conftest import FOLDER
from tests.infra.emulator.server import CREDENTIALS, emulator

Clients = Callable[[str], Any]
BY_THE_STATE = ("plan", "outputs", "deployed", "export-records", "destroy")
"""Verbs that go by what is there; `deploy` and `preflight` ask all that there is to ask."""
SUFFIX = "w1"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An account that nobody else's tests have a state in."""
    with emulator() as where:
        yield where


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    folder = tmp_path / "environments"
    folder.mkdir()
    for file in FOLDER.glob("*.yaml"):
        (folder / file.name).write_text(file.read_text())
    return folder


@pytest.fixture(autouse=True)
def _there(settings: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with the environments, signed in, with what stands for Terraform on the path."""
    monkeypatch.chdir(settings.parent)
    monkeypatch.setenv("PATH", with_terraform(settings.parent / "bin"))
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": address, **IMAGES}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_PROFILE", "ENV", "ENVIRONMENT_SUFFIX", "CI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def state(client: Clients, environment: Environment) -> Iterator[None]:
    bucket = f"millrace-state-{environment.settings.account_id}-{environment.region}"
    where = {"LocationConstraint": environment.region}
    client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    yield
    client("s3").delete_bucket(Bucket=bucket)


@pytest.fixture
def key(client: Clients) -> Iterator[str]:
    """An API key that the suffix's integrators use: the first that `destroy` would remove."""
    gateway = client("apigateway")
    tags = {"project": "millrace", "suffix": SUFFIX}
    made = gateway.create_api_key(name="theirs", enabled=True, tags=tags)["id"]
    yield made
    if made in keys(client):
        gateway.delete_api_key(apiKey=made)


def keys(client: Clients) -> set[str]:
    return {one["id"] for one in client("apigateway").get_api_keys()["items"]}


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a verb that ends with 2, with nothing written."""
    assert run(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["bin", "environments"]
    return said


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize("verb", BY_THE_STATE)
def test_in_another_account_nothing_is_read_and_nothing_is_removed(
    verb: str,
    settings: Path,
    client: Clients,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of the same suffix there: its integrators would lose their keys before Terraform had refused."""
    file = settings / "dev.yaml"
    file.write_text(file.read_text().replace("123456789012", "999999999999"))
    said = refused(monkeypatch, capsys, verb, "--suffix", SUFFIX, *unguarded(verb))
    assert "use credentials of account 999999999999: dev.yaml says so" in said
    assert key in keys(client)


def test_a_plan_without_a_state_and_secrets_names_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "plan", "--env", "us-east-1", "--suffix", SUFFIX) == 2
    said = capsys.readouterr().err.removeprefix("millrace_infra: ").splitlines()
    names = ("database-master", "database-user", "api-signing", "api-keys", "dashboard-oidc")
    assert [line.partition(":")[0] for line in said] == [
        "state bucket", *(f"secret millrace/{SUFFIX}/{name}" for name in names),
    ]  # fmt: skip
    assert sorted(path.name for path in Path().iterdir()) == ["bin", "environments"]


@pytest.mark.parametrize("verb", [verb for verb in BY_THE_STATE if verb != "plan"])
def test_without_a_state_to_go_by_the_bucket_is_named(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(monkeypatch, capsys, verb, "--env", "us-east-1", "--suffix", SUFFIX, *unguarded(verb))
    assert said == (
        "millrace_infra: state bucket: found 'missing'; make bootstrap, once per account and region\n"
    )


def unguarded(verb: str) -> tuple[str, ...]:
    """Past what a verb asks for first: the word for an environment of records, a folder."""
    asked = {"destroy": ("--abandon-records", "--confirm", SUFFIX), "export-records": ("--to", "copy")}
    return asked.get(verb, ())


@pytest.mark.requirement("S-04")
def test_records_do_not_go_by_the_name_of_an_environment_without_any(
    settings: Path,
    state: None,
    client: Clients,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`dev` lies in the region of `eu-central-1` and has no guard: the state's name is the suffix's alone."""
    records, free = (load(name, SUFFIX, folder=settings) for name in ("eu-central-1", "dev"))
    assert (records.settings.profile, free.settings.profile) == ("records", "ephemeral")
    assert records.region == free.region
    tags = [{"TagKey": name, "TagValue": value} for name, value in records.tags.items()]
    theirs = client("kms").create_key(Tags=tags)["KeyMetadata"]["KeyId"]
    said = refused(monkeypatch, capsys, "destroy", "--env", "dev", "--suffix", SUFFIX)
    client("kms").untag_resource(KeyId=theirs, TagKeys=list(records.tags))
    assert said == (
        f"millrace_infra: suffix {SUFFIX}: found 'of eu-central-1'; give ENV=eu-central-1, "
        f"from which {SUFFIX} is deployed here, or choose another suffix\n"
    )
    assert key in keys(client)


@pytest.mark.parametrize("verb", ["bootstrap", "preflight", "deploy", *BY_THE_STATE])
def test_without_credentials_no_verb_ends_in_a_traceback(verb: str, settings: Path) -> None:
    """In a process of its own, which has nobody else's session."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nobody = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "none",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
    }
    done = subprocess.run(
        [sys.executable, "-m", "millrace_infra", verb, "--env", "dev", "--suffix", SUFFIX, *unguarded(verb)],
        env=environ | nobody, cwd=settings.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "millrace_infra: credentials: found 'Unable to locate credentials'; sign in: aws sso login, or AWS_PROFILE\n"
    )
    assert sorted(path.name for path in settings.parent.iterdir()) == ["bin", "environments"]


@pytest.mark.parametrize("verb", ["bootstrap", "preflight", "deploy", *BY_THE_STATE])
def test_a_profile_that_is_not_there_is_named_before_anything_is_asked(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert refused(monkeypatch, capsys, verb, "--suffix", SUFFIX, *unguarded(verb)) == (
        "millrace_infra: AWS_PROFILE: found 'nobody', wanted one of `aws configure list-profiles`, or unset\n"
    )


@pytest.fixture
def archive(client: Clients, environment: Environment, request: pytest.FixtureRequest) -> Iterator[str]:
    """As a deployment under that profile made it."""
    bucket = f"millrace-archive-{environment.settings.account_id}-{environment.region}-{SUFFIX}"
    where = {"LocationConstraint": environment.region}
    client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=request.param == "records"
    )
    yield bucket
    client("s3").delete_bucket(Bucket=bucket)


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize("archive", ["records"], indirect=True)
def test_records_do_not_go_because_their_file_says_ephemeral_by_now(
    state: None,
    archive: str,
    client: Clients,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = refused(monkeypatch, capsys, "destroy", "--env", "dev", "--suffix", SUFFIX)
    assert said.startswith(f"millrace_infra: profile: found '{archive} made under records'; say profile: records")
    assert key in keys(client)


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize(
    ("archive", "name", "ok"),
    [("records", "dev", False), ("ephemeral", "dev", True), ("records", "eu-central-1", True),
     ("ephemeral", "eu-central-1", False)],
    indirect=["archive"],
)  # fmt: skip
def test_no_deployment_makes_an_archive_anew_that_is_there_under_another_profile(
    archive: str, name: str, ok: bool, client: Clients
) -> None:
    """Terraform replaces a bucket whose lock is to be another, and with `force_destroy` empties it first."""
    (found,) = check_profile(Account(load(name, SUFFIX, folder=FOLDER), client))
    assert found.ok is ok
    assert check_profile in BEFORE_A_DEPLOYMENT
    assert "all that is in it deleted" in found.advice


def test_where_no_archive_is_yet_any_profile_will_do(client: Clients) -> None:
    for name in ("dev", "eu-central-1"):
        (found,) = check_profile(Account(load(name, "none", folder=FOLDER), client))
        assert found.ok


def test_what_aws_refuses_half_way_is_one_sentence(
    state: None, client: Clients, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(*_: Any) -> Any:
        client("kms").describe_key(KeyId="alias/none-of-that-name")

    monkeypatch.setattr("millrace_infra.remains.remove_api_keys", denied)
    monkeypatch.setattr("millrace_infra.workspace.Workspace.synthesize", lambda _: [])
    assert run(monkeypatch, "destroy", "--suffix", "quiet") == 1
    said = capsys.readouterr().err
    assert said.startswith("millrace_infra: AWS said: An error occurred (NotFoundException) when calling")
    assert said.endswith("; what was done stays, and the same command goes on from there\n")
    assert said.count("\n") == 1


def test_what_is_a_mistake_of_ours_keeps_its_traceback(state: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace_infra.workspace.Workspace.synthesize", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, "destroy", "--suffix", "quiet")


def test_outputs_of_what_is_not_deployed_take_the_place_of_no_others(
    state: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("cfn-outputs") / "flat-outputs.json"
    file.parent.mkdir()
    file.write_text('{"suffix": "other"}')
    assert run(monkeypatch, "outputs", "--suffix", SUFFIX) == 2
    assert capsys.readouterr().err == (
        f"millrace_infra: ENVIRONMENT_SUFFIX: found '{SUFFIX}', wanted one that is deployed (make deploy): "
        "the state has no outputs, and no file was written\n"
    )
    assert file.read_text() == '{"suffix": "other"}'
