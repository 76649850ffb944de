"""Terraform finds its provider where a mirror lies, and downloads as usual where none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_infra import terraform_mirror
from millrace_infra.terraform_mirror import ENV_CONFIG, ENV_MIRROR, configured, find, this_platform

VERSION = "5.100.0"


def mirror(root: Path, version: str = VERSION, platform: str = "") -> Path:
    (root / "registry.example" / "hashicorp" / "aws" / version / (platform or this_platform())).mkdir(
        parents=True
    )
    return root


@pytest.mark.parametrize("below", ["", "plugins", "terraform/providers"])
def test_a_mirror_is_found_by_its_shape_wherever_it_lies(tmp_path: Path, below: str) -> None:
    made = mirror(tmp_path / "place" / below)
    assert find(VERSION, [tmp_path / "nowhere", tmp_path / "place"]) == made


def test_a_mirror_of_another_version_or_machine_is_none(tmp_path: Path) -> None:
    mirror(tmp_path / "old", version="5.0.0")
    mirror(tmp_path / "other", platform="plan9_mips")
    assert find(VERSION, [tmp_path / "old", tmp_path / "other"]) is None


def test_terraform_gets_a_configuration_that_names_the_mirror_and_goes_with_the_run(tmp_path: Path) -> None:
    made = mirror(tmp_path / "mirror")
    environ = {
        ENV_MIRROR: str(made),
        "HOME": str(tmp_path),
        ENV_CONFIG: str(tmp_path / "not-there.rc"),
        "A": "b",
    }
    with configured(VERSION, environ) as complete:
        file = Path(complete[ENV_CONFIG])
        assert f'path = "{made}"' in file.read_text()
        assert complete["A"] == "b"
    assert not file.exists()


def test_a_users_own_configuration_is_kept(tmp_path: Path) -> None:
    own = tmp_path / "own.rc"
    own.touch()
    environ = {ENV_MIRROR: str(mirror(tmp_path / "mirror")), "HOME": str(tmp_path), ENV_CONFIG: str(own)}
    with configured(VERSION, environ) as complete:
        assert complete[ENV_CONFIG] == str(own)


def test_without_a_mirror_no_configuration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terraform_mirror, "_FOLDERS", ())
    with configured(VERSION, {"HOME": str(tmp_path), ENV_CONFIG: str(tmp_path / "not-there.rc")}) as complete:
        assert ENV_CONFIG not in complete
