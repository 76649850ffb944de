"""The watch over every environment, synthesized once for the session."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.observability.alarms import Build
from tests.infra.program import Program


@pytest.fixture(scope="session")
def watch_of(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Environment -> its program; keyword arguments change settings of its file: `network__egress="endpoints"`."""
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.settings import load
    from tests.infra.observability.composition import compose

    @cache
    def of(name: str, **changes: object) -> Program:
        outdir = tmp_path_factory.mktemp(f"watch-{name}")
        content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        for dotted, value in changes.items():
            *parents, last = dotted.split("__")
            place = content
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        (outdir / f"{name}.yaml").write_text(yaml.safe_dump(content))
        compose(load(name, SUFFIX, folder=outdir), outdir=str(outdir / "out")).synth()
        (file,) = Path(outdir).glob("out/stacks/*/cdk.tf.json")
        return Program(file.parent.name, file.read_text())

    return of


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def watch(request: pytest.FixtureRequest, watch_of: Build) -> Program:
    """Once for each environment."""
    return watch_of(request.param)


@pytest.fixture(scope="session")
def peak(watch_of: Build) -> Program:
    return watch_of("us-east-1")
