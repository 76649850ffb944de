"""The program synthesizes with both CDKs, and nothing but their versions differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ENVIRONMENTS, SUFFIX, Synthesize

PYTHON = Path(".tools/cdktn/bin/python").absolute()
PROGRAM = """
import sys
from millrace_infra.app import build
from millrace_infra.settings import load
build(load(sys.argv[1], sys.argv[2]), outdir=sys.argv[3]).synth()
"""
DIFFERENCES = {
    "//.metadata.version": ("0.21.0", "0.24.0"),
    "terraform.required_providers.aws.source": ("aws", "hashicorp/aws"),
    "terraform.required_providers.aws.version": ("5.100.0", "6.69.1"),
}
"""Place -> (with cdktf, with cdktn): the CDK's own version and the provider's. Nothing of ours."""


def values(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict | list) and content:
        inner = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in inner:
            yield from values(value, (*path, str(key)))
    else:
        yield ".".join(path), content


def differences(one: str, other: str) -> dict[str, tuple[Any, Any]]:
    first, second = dict(values(json.loads(one))), dict(values(json.loads(other)))
    return {
        place: (first.get(place), second.get(place)) for place in first.keys() | second.keys()
        if first.get(place) != second.get(place)
    }  # fmt: skip


@pytest.mark.long  # the other CDK starts anew for each environment, and is set up for nothing else
@pytest.mark.requirement("S-01")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_both_engines_write_the_same_program(
    environment: str, synthesize: Synthesize, tmp_path: Path
) -> None:
    if not PYTHON.exists():
        pytest.skip("cdktn is not set up: make engines does it")
    given = {**os.environ, "MILLRACE_CDK": "cdktn", "PYTHONPATH": "src"}
    command = [str(PYTHON), "-c", PROGRAM, environment, SUFFIX, str(tmp_path)]
    subprocess.run(command, env=given, check=True, capture_output=True, timeout=280)
    for name, program in synthesize(environment).items():
        other = (tmp_path / "stacks" / name / "cdk.tf.json").read_text()
        assert differences(program.text, other) == DIFFERENCES, name


def test_an_unknown_engine_is_refused_in_one_sentence() -> None:
    given = {**os.environ, "MILLRACE_CDK": "pulumi", "PYTHONPATH": "src"}
    command = [sys.executable, "-m", "millrace_infra.cdktf_call"]
    done = subprocess.run(command, env=given, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "cdktf or cdktn" in done.stderr


def test_a_difference_is_seen() -> None:
    assert differences('{"a": {"b": [1, 2]}}', '{"a": {"b": [1, 3]}}') == {"a.b.1": (2, 3)}
    assert differences('{"a": {}}', "{}") == {"a": ({}, None), "": (None, {})}
