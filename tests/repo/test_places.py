"""The same noun names the code and its tests; nothing is called what is not yet thought through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millrace.batch import Reason

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/millrace"
FILES = sorted(
    path for folder in ("src", "tests", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")
)
FORBIDDEN = {"utils", "util", "core", "common", "helpers", "helper", "misc"}
FILE_LINES_MAX = 400
TEST_LINES_MAX = 500  # laws over one noun stay together

# Files that hold more than one idea as yet, with the length that they may not pass; this list shrinks.
# `terraform.py` is one list of names: it is the only file that may import the CDK.
TO_BE_CUT: dict[str, int] = {"src/millrace_infra/terraform.py": 700}

# A noun that is tested elsewhere than under its own name; this list shrinks.
TESTED_AS = {"dashboard": "browser", "sinks": "sinks"}

# Reasons that no test mentions yet; this list shrinks.
UNTESTED_REASONS: set[str] = set()


def nouns() -> list[str]:
    return sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py")))


@pytest.mark.parametrize("noun", nouns())
def test_every_noun_has_its_tests(noun: str) -> None:
    name = TESTED_AS.get(noun, noun)
    found = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if name in path.parts or path.stem == f"test_{name}"
    ]
    assert found, f"no tests for {noun}: tests/unit/{noun}, tests/contract/{noun} or tests/integration/{noun}"


def test_no_file_is_named_for_nothing() -> None:
    assert [path for path in FILES if path.stem in FORBIDDEN or path.parent.name in FORBIDDEN] == []


def test_test_folders_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_files_are_short_enough_to_be_read() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in FILES}
    assert {name: count for name, count in lines.items() if count > _lines_max(name)} == {}
    assert {name for name in TO_BE_CUT if lines.get(name, 0) <= FILE_LINES_MAX} == set(), "take it off the list"


def _lines_max(name: str) -> int:
    return TEST_LINES_MAX if name.startswith("tests/") else TO_BE_CUT.get(name, FILE_LINES_MAX)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_says_at_its_top_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(('"""', 'r"""')) or not text.strip()


@pytest.mark.parametrize("reason", [reason.name for reason in Reason if reason is not Reason.OK])
def test_every_reason_for_a_reject_has_a_test(reason: str) -> None:
    word = re.compile(rf"\b({reason}|{reason.lower()})\b")
    mentioned = any(
        word.search(path.read_text()) for path in FILES if "tests" in path.parts and path.parts[-2] != "repo"
    )
    assert mentioned != (reason in UNTESTED_REASONS), (
        "a test that produces it, or an entry in UNTESTED_REASONS"
    )
