"""The zips: the same bytes every time, whole, and without anything that the function does not load."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from millrace_infra import function_build

FIELDS = sorted(function_build.FILES)
LOAD = "import importlib, sys; sys.path.insert(0, sys.argv[1]); importlib.import_module(sys.argv[2]).handler"


def loads(field: str, folder: Path) -> bool:
    """In a Python of its own, without site packages and without us, as Lambda would."""
    module = function_build.handler(field).removesuffix(".handler")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", LOAD, str(folder), module], capture_output=True)
    return done.returncode == 0


@pytest.fixture(params=FIELDS)
def field(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.requirement("S-11")
def test_two_builds_are_the_same_bytes(field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = function_build.build(field)
    later = time.time() + 3_600
    package = tmp_path / "src"
    for name in zipfile.ZipFile(io.BytesIO(first)).namelist():
        copy = package / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((function_build.SOURCE / name).read_bytes())
        copy.chmod(0o600)
        os.utime(copy, (later, later))
    monkeypatch.setattr(function_build, "SOURCE", package)
    monkeypatch.setattr(time, "time", lambda: later)
    assert function_build.build(field) == first


@pytest.mark.requirement("S-11")
def test_a_function_loads_from_its_zip_alone(field: str, tmp_path: Path) -> None:
    zipfile.ZipFile(io.BytesIO(function_build.build(field))).extractall(tmp_path)
    assert loads(field, tmp_path)


@pytest.mark.requirement("S-11")
def test_a_zip_holds_no_file_too_many(field: str, tmp_path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(function_build.build(field)))
    archive.extractall(tmp_path)
    for name in archive.namelist():
        if name.endswith("__init__.py"):
            continue  # says what the package is; it would load without
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        assert not loads(field, tmp_path), f"{name} is not needed"
        (tmp_path / name).write_bytes(content)


@pytest.mark.requirement("S-11")
def test_every_file_is_readable_by_all_and_executable_by_none(field: str) -> None:
    for entry in zipfile.ZipFile(io.BytesIO(function_build.build(field))).infolist():
        assert entry.external_attr >> 16 == 0o100644
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)


@pytest.mark.requirement("S-11")
def test_no_source_is_compiled_for_one_machine(field: str) -> None:
    names = zipfile.ZipFile(io.BytesIO(function_build.build(field))).namelist()
    assert names == sorted(names)
    assert all(name.endswith(".py") for name in names)
