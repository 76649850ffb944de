"""The edge of every environment with the nouns that it stands on, synthesized once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.program import Program

Build = Callable[[str], Program]


def body_of(program: Program) -> dict[str, Any]:
    """The definition that Terraform hands to API Gateway, its escapes undone."""
    (api,) = program.of("aws_api_gateway_rest_api")
    found: dict[str, Any] = json.loads(api["body"].replace("$${", "${").replace("%%{", "%{"))
    return found


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.edge.gateway import Gateway
    from millrace_infra.entry import Entry
    from millrace_infra.network import Network
    from millrace_infra.observability.logs import Logs
    from millrace_infra.security import Keys
    from millrace_infra.settings import load
    from millrace_infra.stack import Stack
    from millrace_infra.terraform import App

    @cache
    def of(name: str) -> Program:
        outdir = tmp_path_factory.mktemp(f"edge-{name}")
        e = load(name, SUFFIX, folder=FOLDER)
        app = App(outdir=str(outdir))
        stack = Stack(app, "edge", e, tags=e.tags)
        logs = Logs(stack, "logs", environment=e, key=Keys(stack, "keys", environment=e)["logs"])
        network = Network(stack, "network", environment=e, logs=logs)
        entry = Entry(stack, "entry", environment=e, network=network)
        Gateway(stack, "gateway", environment=e, entry=entry, logs=logs)
        app.synth()
        (file,) = outdir.glob("stacks/*/cdk.tf.json")
        return Program(file.parent.name, file.read_text())

    return of


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def edge(request: pytest.FixtureRequest, built: Build) -> Program:
    return built(request.param)
