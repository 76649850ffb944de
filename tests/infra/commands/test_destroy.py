"""An environment of records goes with a whole copy of its archive, or by a word that a person typed; else it stays.

The stacks are not here: what is shown is whether `destroy` gets as far as them.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_infra.settings import Environment, load
from millrace_infra.stack import state_bucket
from tests.infra.commands.test_verbs import run
from tests.infra.conftest import FOLDER
from tests.infra.emulator.server import CREDENTIALS, emulator

pytestmark = [pytest.mark.requirement("S-04"), pytest.mark.requirement("S-20")]

FILES = {"critical/2026/a": b"one", "standard/2026/b": b"two"}
RECORDS = ("destroy", "--env", "us-east-1", "--suffix")


class NoStacks:
    """The workspace of a suffix whose stacks are gone; `reached` counts how often they were asked for."""

    platform, registry = "platform", "registry"

    def __init__(self) -> None:
        self.reached = 0

    def synthesize(self) -> list[str]:
        self.reached += 1
        return []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An account in which environments have their state."""
    from millrace_infra.session import client_of

    with emulator() as where, pytest.MonkeyPatch.context() as signed_in:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": where}.items():
            signed_in.setenv(name, value)
        for name in ("dev", "us-east-1"):
            environment: Environment = load(name, "any", folder=FOLDER)
            place = {"CreateBucketConfiguration": {"LocationConstraint": environment.region}}
            s3: Any = client_of(environment)("s3")
            s3.create_bucket(
                Bucket=state_bucket(environment), **({} if environment.region == "us-east-1" else place)
            )
        yield where


@pytest.fixture
def stacks(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> NoStacks:
    """As a person calls it: in a folder with the environments, signed in."""
    shutil.copytree(FOLDER, tmp_path / "environments")
    monkeypatch.chdir(tmp_path)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_PROFILE", "ENV", "ENVIRONMENT_SUFFIX", "CI"):
        monkeypatch.delenv(name, raising=False)
    found = NoStacks()
    monkeypatch.setattr("millrace_infra.workspace.workspace", lambda _: found)
    return found


@pytest.fixture
def archive(stacks: NoStacks, tmp_path: Path) -> Callable[[str], Path]:
    """suffix -> a whole copy of its archive, which holds `FILES`."""

    def of(suffix: str) -> Path:
        from millrace_infra.session import client_of

        environment: Environment = load("us-east-1", suffix, folder=FOLDER)
        s3: Any = client_of(environment)("s3")
        bucket = environment.names.in_world("archive")
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        for key, content in FILES.items():
            s3.put_object(Bucket=bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256")
            (tmp_path / "copy" / key).parent.mkdir(parents=True)
            (tmp_path / "copy" / key).write_bytes(content)
        return tmp_path / "copy"

    return of


def test_records_go_once_their_copy_is_found_whole(
    stacks: NoStacks, archive: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = archive("whole")
    assert run(monkeypatch, *RECORDS, "whole", "--confirm", "whole", "--export", str(copy)) == 0
    assert stacks.reached == 1


@pytest.mark.parametrize(
    ("content", "fault"), [(None, "not in the copy"), (b"owt", "another content in the copy")]
)
def test_records_stay_where_their_copy_is_not_whole(
    content: bytes | None,
    fault: str,
    stacks: NoStacks,
    archive: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suffix = "torn" if content is None else "changed"
    copy = archive(suffix)
    file = copy / "standard/2026/b"
    file.write_bytes(content) if content else file.unlink()
    assert run(monkeypatch, *RECORDS, suffix, "--confirm", suffix, "--export", str(copy)) == 2
    said = capsys.readouterr().err
    assert f"standard/2026/b: {fault}" in said
    assert "nothing was destroyed" in said
    assert stacks.reached == 0


@pytest.mark.parametrize(("typed", "code", "reached"), [("mine", 0, 1), ("yours", 2, 0), ("", 2, 0)])
def test_who_destroys_records_types_the_suffix(
    typed: str,
    code: int,
    reached: int,
    stacks: NoStacks,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{typed}\n"))
    assert run(monkeypatch, *RECORDS, "mine", "--abandon-records") == code
    assert "This removes records. Type the suffix (mine) to go on" in capsys.readouterr().out
    assert stacks.reached == reached


def test_what_is_no_record_goes_without_a_word(stacks: NoStacks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert run(monkeypatch, "destroy", "--env", "dev", "--suffix", "night") == 0
    assert stacks.reached == 1
