"""docs/requirements.md lists every requirement with its proof, and says nothing that the tests do not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
IDS = [f"S-{number:02}" for number in range(1, 26)] + [f"B-{number:02}" for number in range(1, 13)]


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("document_requirements", ROOT / "scripts/document_requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_requirement_is_listed_once_in_order(page: ModuleType) -> None:
    assert [row.id for row in page.REQUIREMENTS] == IDS


def test_every_mark_names_a_requirement(page: ModuleType) -> None:
    assert {id: sorted(files) for id, files in page.marks().items() if id not in IDS} == {}


def test_what_is_proven_has_tests_and_what_is_missing_is_said(page: ModuleType) -> None:
    tested = set(page.marks())
    for row in page.REQUIREMENTS:
        assert row.state in (page.PROVEN, page.PARTLY, page.LATER), row.id
        assert row.note or row.state == page.PROVEN, f"{row.id}: say what is missing"
        assert (row.id in tested) == (row.state != page.LATER and row.id not in page.UNTESTED), (
            f"{row.id} is called {row.state}: give it a test with its mark, or another state"
        )


def test_the_requirements_page_is_current(page: ModuleType) -> None:
    assert (ROOT / "docs/requirements.md").read_text() == page.table(), "run `make docs`"
