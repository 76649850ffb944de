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


@pytest.fixture
def changed(archive: Callable[[str], Path]) -> Callable[[str], Any]:
    """suffix -> S3, after one file of that archive was overwritten and the other deleted."""

    def of(suffix: str) -> Any:
        from millrace_infra.session import client_of

        archive(suffix)
        environment: Environment = load("us-east-1", suffix, folder=FOLDER)
        s3: Any = client_of(environment)("s3")
        bucket, (first, second) = environment.names.in_world("archive"), FILES
        s3.put_object(Bucket=bucket, Key=first, Body=b"new", ChecksumAlgorithm="SHA256")
        s3.delete_object(Bucket=bucket, Key=second)
        return s3

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


def test_records_stay_where_their_copy_lacks_what_was_overwritten_or_deleted(
    stacks: NoStacks, changed: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The copy is whole as far as a listing of the bucket goes."""
    changed("former")
    first, second = FILES
    (tmp_path / "copy" / first).write_bytes(b"new")
    (tmp_path / "copy" / second).unlink()
    call = (*RECORDS, "former", "--confirm", "former", "--export", str(tmp_path / "copy"))
    assert run(monkeypatch, *call) == 2
    said = capsys.readouterr().err
    for key in FILES:
        assert f".versions/{key}/" in said
    assert "--current-only" in said
    assert "nothing was destroyed" in said
    assert stacks.reached == 0
    assert run(monkeypatch, *call, "--current-only") == 0, "by a word of their own they go"
    assert stacks.reached == 1


def test_a_word_for_former_versions_is_none_for_the_files_themselves(
    stacks: NoStacks, changed: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    changed("both")  # the copy has the overwritten content still
    call = (*RECORDS, "both", "--confirm", "both", "--export", str(tmp_path / "copy"), "--current-only")
    assert run(monkeypatch, *call) == 2
    assert "critical/2026/a: another content in the copy" in capsys.readouterr().err
    assert stacks.reached == 0


def test_an_export_holds_every_version_and_destroy_takes_it(
    stacks: NoStacks, changed: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    changed("exported")
    to = tmp_path / "export"
    export = ("export-records", "--env", "us-east-1", "--suffix", "exported", "--to", str(to))
    assert run(monkeypatch, *export) == 0
    assert "3 versions of the archive" in capsys.readouterr().out
    found = {str(file.relative_to(to).parent): file.read_bytes() for file in to.rglob("*") if file.is_file()}
    assert found == {
        "critical/2026": b"new",
        ".versions/critical/2026/a": b"one",
        ".versions/standard/2026/b": b"two",
    }
    assert run(monkeypatch, *RECORDS, "exported", "--confirm", "exported", "--export", str(to)) == 0
    assert stacks.reached == 1


def test_an_export_goes_on_where_it_was_and_mends_what_is_torn(
    changed: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    changed("twice")
    export = ("export-records", "--env", "us-east-1", "--suffix", "twice", "--to", str(tmp_path / "export"))
    assert run(monkeypatch, *export) == 0
    (former,) = (tmp_path / "export/.versions/critical/2026/a").iterdir()
    former.write_bytes(b"on")
    capsys.readouterr()
    assert run(monkeypatch, *export) == 0
    assert "3 versions" in (said := capsys.readouterr().out)
    assert said.endswith("; 1 were fetched\n")
    assert former.read_bytes() == b"one"


@pytest.mark.parametrize("key", ["critical/../../outside", "/outside"])
def test_an_export_writes_nothing_outside_its_folder(
    key: str, changed: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Whoever may write into the bucket is not by that allowed to write on the machine of who copies it."""
    suffix = f"hostile{len(key)}"
    s3 = changed(suffix)
    s3.put_object(Bucket=load("us-east-1", suffix, folder=FOLDER).names.in_world("archive"), Key=key, Body=b"x")
    to = tmp_path / "export"
    assert run(monkeypatch, "export-records", "--env", "us-east-1", "--suffix", suffix, "--to", str(to)) == 2
    assert f"archive: found '{key}', wanted keys that stay inside a folder" in capsys.readouterr().err
    assert not list(tmp_path.rglob("outside"))


def test_an_export_without_a_folder_is_refused(
    stacks: NoStacks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `make export-records` calls it without TO; the folder it is called in would be filled."""
    export = ("export-records", "--env", "us-east-1", "--suffix", "mine", "--to", "")
    assert run(monkeypatch, *export) == 2
    assert capsys.readouterr().err == (
        "millrace_infra: --to: found '', wanted a folder for the copy, on a disk that outlives the environment\n"
    )


@pytest.mark.parametrize("parts", [1, 2])
def test_a_file_without_a_sum_of_its_whole_is_compared_byte_by_byte(
    parts: int, stacks: NoStacks, archive: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Of an upload in parts S3 keeps a sum over the parts' sums, and of a plain one none that a file can have."""
    from millrace_infra.session import client_of

    suffix = f"parts{parts}"
    copy = archive(suffix)
    environment: Environment = load("us-east-1", suffix, folder=FOLDER)
    content = b"x" * (5 << 20) + b"end"
    upload(client_of(environment)("s3"), environment.names.in_world("archive"), "critical/large", content, parts)
    call = (*RECORDS, suffix, "--confirm", suffix, "--export", str(copy))
    (copy / "critical/large").write_bytes(content[:-1] + b"?")
    assert run(monkeypatch, *call) == 2
    assert "critical/large: another content in the copy" in capsys.readouterr().err
    (copy / "critical/large").write_bytes(content)
    assert run(monkeypatch, *call) == 0
    assert stacks.reached == 1


def upload(s3: Any, bucket: str, key: str, content: bytes, parts: int) -> None:
    """Plain and without a SHA-256, or in two parts with one of each."""
    if parts == 1:
        s3.put_object(Bucket=bucket, Key=key, Body=content, ChecksumAlgorithm="CRC32")
        return
    where = {"Bucket": bucket, "Key": key}
    where["UploadId"] = s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    pieces = (content[: 5 << 20], content[5 << 20 :])
    done = [
        s3.upload_part(**where, PartNumber=number, Body=piece, ChecksumAlgorithm="SHA256")
        for number, piece in enumerate(pieces, start=1)
    ]
    listed = [{"PartNumber": number, "ETag": one["ETag"]} for number, one in enumerate(done, start=1)]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": listed})


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
