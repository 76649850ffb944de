"""What only an account can show is counted: skipped, with the reason, wherever nothing is deployed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("S-25")
@pytest.mark.parametrize(
    ("deployed", "reason"), [(False, "nothing is deployed from here"), (True, "make verify-deployed")]
)
def test_make_test_skips_them_with_the_reason_and_leaves_none_out(
    tmp_path: Path, deployed: bool, reason: str
) -> None:
    """Where something is deployed too: tests of every day ask no account."""
    (recipe,) = re.findall(r"^test: .*\n\t\$\(PYTEST\) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    chosen = re.fullmatch(r'-m "(.*)" \$\(BESIDE\)', recipe)
    assert chosen is not None
    if deployed:
        (tmp_path / "cfn-outputs").mkdir()
        (tmp_path / "cfn-outputs" / "flat-outputs.json").write_text("{}")
    command = [sys.executable, "-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", "-m", chosen[1]]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", ROOT / "tests" / "account"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    assert reason in ended.stdout
    assert re.search(r"^(\d+) skipped in", ended.stdout, re.MULTILINE), ended.stdout


@pytest.mark.requirement("S-25")
def test_what_another_suffix_s_outputs_say_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """`make` hands SUFFIX on. The outputs of one deployment would be verified under the name of another."""
    (tmp_path / "cfn-outputs").mkdir()
    (tmp_path / "cfn-outputs" / "flat-outputs.json").write_text('{"suffix": "pr41"}')
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-c", ROOT / "pyproject.toml", "-m", "account"]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", ROOT / "tests" / "account"],
        cwd=tmp_path, env={**os.environ, "SUFFIX": "pr42"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout
    said = "SUFFIX: found 'pr42', and cfn-outputs/flat-outputs.json is of 'pr41': make outputs writes another"
    assert said in ended.stdout
