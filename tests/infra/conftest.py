"""One synthesis per environment and suffix for the whole session: it is the slow part."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from millrace_infra.settings import known
from tests.infra.program import Program

SUFFIX = "t1"
FOLDER = Path(__file__).parents[2] / "environments"
ENVIRONMENTS = tuple(known(FOLDER))

Synthesize = Callable[..., dict[str, Program]]


@pytest.fixture(scope="session")
def synthesize_again(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """(environment, suffix) -> stack name -> program, made anew each time."""
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.app import build
    from millrace_infra.settings import load

    def of(environment: str, suffix: str = SUFFIX) -> dict[str, Program]:
        outdir = tmp_path_factory.mktemp(f"{environment}-{suffix}")
        build(load(environment, suffix, folder=FOLDER), outdir=str(outdir)).synth()
        return {
            file.parent.name: Program(file.parent.name, file.read_text())
            for file in sorted(outdir.glob("stacks/*/cdk.tf.json"))
        }

    return of


@pytest.fixture(scope="session")
def synthesize(synthesize_again: Synthesize) -> Synthesize:
    """(environment, suffix) -> stack name -> program."""
    made = cache(synthesize_again)
    # "dev" and ("dev", "t1") are one program, and two keys of a cache
    return lambda environment, suffix=SUFFIX: made(environment, suffix)


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def platform(request: pytest.FixtureRequest, synthesize: Synthesize) -> Program:
    """The platform's stack, once for each environment."""
    return synthesize(request.param)[f"millrace-{SUFFIX}"]


@pytest.fixture(scope="session")
def dev(synthesize: Synthesize) -> Program:
    return synthesize("dev")[f"millrace-{SUFFIX}"]
