"""One synthesis per environment and suffix for the whole session: it is the slow part."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.infra.program import Program

SUFFIX = "t1"
ENVIRONMENTS = ("dev", "eu-central-1", "us-east-1")
FOLDER = Path(__file__).parents[2] / "environments"

Synthesize = Callable[..., dict[str, Program]]


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """(environment, suffix) -> stack name -> program."""
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.app import build
    from millrace_infra.settings import load

    @cache
    def of(environment: str, suffix: str = SUFFIX) -> dict[str, Program]:
        outdir = tmp_path_factory.mktemp(f"{environment}-{suffix}")
        build(load(environment, suffix, folder=FOLDER), outdir=str(outdir)).synth()
        return {
            file.parent.name: Program(file.parent.name, file.read_text())
            for file in sorted(outdir.glob("stacks/*/cdk.tf.json"))
        }

    return of


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def platform(request: pytest.FixtureRequest, synthesize: Synthesize) -> Program:
    """The platform's stack, once for each environment."""
    return synthesize(request.param)[f"millrace-{SUFFIX}"]


@pytest.fixture(scope="session")
def dev(synthesize: Synthesize) -> Program:
    return synthesize("dev")[f"millrace-{SUFFIX}"]
