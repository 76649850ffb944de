"""What the cycle leaves out is what is listed, and what the page on emulators says."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.infra.conftest import ENVIRONMENTS, FOLDER
from tests.infra.cycle.left_out import EXCHANGED, LEFT_OUT, changed

PAGE = Path(__file__).parents[3] / "docs" / "emulators.md"


def test_no_setting_is_taken_out_or_exchanged_without_a_row(settings: Path) -> None:
    found: set[str] = set()
    for name in ENVIRONMENTS:
        as_written = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        as_applied = yaml.safe_load((settings / f"{name}.yaml").read_text())
        found |= set(changed(as_written, as_applied))
    assert found == {row.setting for row in LEFT_OUT} | set(EXCHANGED)


def test_the_page_on_emulators_names_what_is_left_out() -> None:
    page = PAGE.read_text()
    assert [row.setting for row in LEFT_OUT if f"`{row.setting}`" not in page] == []
