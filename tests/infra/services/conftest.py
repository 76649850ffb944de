"""The services, the entry and the deployment of every environment, with the nouns that they stand on."""

from __future__ import annotations

import shutil
from functools import cache

import pytest

from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.services.parts import Build

GIVEN = {"MILLRACE_STREAM_NAME": "a-stream"}
WORKER_ALARMS = ("millrace-worker-lag-t1",)
API_ALARMS = ("millrace-api-errors-t1",)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """(environment, consumer) -> its program; no consumer means polling."""
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.settings import load
    from tests.infra.services.composition import compose

    @cache
    def of(environment: str, consumer: str = "a-consumer", suffix: str = SUFFIX) -> Program:
        outdir = tmp_path_factory.mktemp(f"services-{environment}")
        app = compose(
            load(environment, suffix, folder=FOLDER),
            outdir=str(outdir),
            consumer=consumer,
            variables=GIVEN,
            worker_alarms=WORKER_ALARMS,
            api_alarms=API_ALARMS,
        )
        app.synth()
        (file,) = outdir.glob("stacks/*/cdk.tf.json")
        return Program(file.parent.name, file.read_text())

    return of


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def services(request: pytest.FixtureRequest, built: Build) -> Program:
    """Once for each environment."""
    return built(request.param)


@pytest.fixture(scope="session")
def peak(built: Build) -> Program:
    return built("us-east-1")
