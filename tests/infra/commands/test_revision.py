"""What is deployed can be deployed again: commit and images come back out of the outputs as they went in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from millrace_infra.images import ENV_IMAGE, NAMES, chosen_images, chosen_sources
from millrace_infra.revision import VARIABLE, commit_here, lines
from millrace_infra.settings import Environment
from tests.infra.program import Program

pytestmark = pytest.mark.requirement("S-25")


def test_what_is_deployed_may_be_asked_for_again_word_for_word(
    environment: Environment, platform: Program
) -> None:
    """Terraform puts what it was told where the program says; what is printed then is told again."""
    digests = {name: f"r.example/{name}@sha256:{at:064d}" for at, name in enumerate(NAMES)}
    images = chosen_images(environment, {ENV_IMAGE.format(name=n.upper()): one for n, one in digests.items()})
    told = {**images, VARIABLE: "c0ffee"}
    outputs = {
        name: told[output["value"].removeprefix("${var.").removesuffix("}")]
        for name, output in platform.json["output"].items()
        if str(output["value"]).startswith("${var.")
    }
    printed = dict(line.split("=", 1) for line in lines(outputs))
    assert printed.pop("commit") == "c0ffee"
    again = {ENV_IMAGE.format(name=name.removeprefix("image_").upper()): one for name, one in printed.items()}
    assert chosen_images(environment, again) == images
    assert set(chosen_sources(again)) == set(NAMES)


@pytest.mark.parametrize("missing", [VARIABLE, "api_image"])
def test_what_one_could_not_go_back_to_is_not_offered(missing: str) -> None:
    whole = {VARIABLE: "c", **{f"{name}_image": name for name in NAMES}}
    assert len(list(lines(whole))) == 1 + len(NAMES)
    assert list(lines(whole | {missing: ""})) == []
    assert list(lines({})) == []


def test_the_commit_is_the_one_that_is_checked_out(tmp_path: Path) -> None:
    assert commit_here(tmp_path) == ""
    who = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(
        ["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert commit_here(tmp_path) == head.stdout.strip() != ""
