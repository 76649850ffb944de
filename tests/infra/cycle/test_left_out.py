"""What the cycle leaves out is what is listed, and what the page on emulators says."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX, Synthesize
from tests.infra.cycle.left_out import EXCHANGED, LEFT_OUT, changed
from tests.infra.program import Program

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


def test_what_is_listed_as_not_made_is_what_is_not_made_without_these_settings(
    settings: Path, synthesize: Synthesize, tmp_path: Path
) -> None:
    """No wider: what a row takes in by its pattern would be missed by nobody."""
    from millrace_infra.app import build
    from millrace_infra.settings import load

    missing: set[str] = set()
    for name in ENVIRONMENTS:
        build(load(name, SUFFIX, folder=settings), outdir=str(tmp_path / name)).synth()
        for stack, program in synthesize(name).items():
            text = (tmp_path / name / "stacks" / stack / "cdk.tf.json").read_text()
            written, applied = ({one.address for one in of} for of in (program, Program(stack, text)))
            assert applied <= written
            assert written - applied == {one for one in written if any(row.covers(one) for row in LEFT_OUT)}
            missing |= written - applied
    assert [row.setting for row in LEFT_OUT if not any(row.covers(one) for one in missing)] == []
