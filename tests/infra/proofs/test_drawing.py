"""docs/infrastructure.md says what the program is, and is written by the script that reads it."""

from __future__ import annotations

import re

import pytest

from scripts import draw_infrastructure as drawing
from tests.infra.conftest import ENVIRONMENTS, FOLDER
from tests.infra.proofs.conftest import Stacks


@pytest.fixture(scope="module")
def programs(stacks: Stacks) -> dict[str, drawing.Blocks]:
    return {name: stacks(name, "platform").json["resource"] for name in ENVIRONMENTS}


def test_the_drawing_is_current(programs: dict[str, drawing.Blocks]) -> None:
    written = (FOLDER.parent / "docs" / "infrastructure.md").read_text()
    assert written == drawing.document(programs), "make docs writes it again"


def test_every_part_that_a_reader_looks_for_is_drawn(programs: dict[str, drawing.Blocks]) -> None:
    drawn = set(re.findall(r"^    ([a-z-]+)$", drawing.diagram(programs["us-east-1"]), re.MULTILINE))
    assert drawn == {noun for nouns in drawing.STAGES.values() for noun in nouns}


def test_a_part_is_drawn_or_left_out_for_a_reason(programs: dict[str, drawing.Blocks]) -> None:
    """A noun that is added would be missing in the drawing, and nobody be told."""
    there = {
        drawing.noun_of(body)
        for resources in programs.values()
        for ids in resources.values()
        for body in ids.values()
    }
    drawn = {noun for nouns in drawing.STAGES.values() for noun in nouns}
    wanted = "a noun's column is in STAGES of scripts/draw_infrastructure.py, or its reason in NO_BOX"
    assert there == drawn | set(drawing.NO_BOX), wanted
    assert not drawn & set(drawing.NO_BOX)


def test_the_dearer_environment_has_more_of_everything_by_the_hour(
    programs: dict[str, drawing.Blocks],
) -> None:
    small, large = (drawing.hourly(programs[name]) for name in ("dev", "us-east-1"))
    assert all(small.get(kind, 0) <= units for kind, units in large.items())
    assert large["aws_kinesis_stream"] == 26
    assert large["aws_ecs_service"] == 6 + 3 + 2
    assert small["aws_nat_gateway"] == small["aws_eip"] == 1
    assert large["aws_nat_gateway"] == large["aws_eip"] == 3
    assert small["aws_wafv2_web_acl"] == large["aws_wafv2_web_acl"] == 1
    assert small["aws_route53_zone"] == large["aws_route53_zone"] == 1
    assert small["aws_kms_key"] == len(programs["dev"]["aws_kms_key"])
