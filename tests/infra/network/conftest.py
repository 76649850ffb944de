"""The network by itself, in shapes that no environment's file has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program

NetworkAlone = Callable[..., Program]


@pytest.fixture(scope="session")
def network_alone(tmp_path_factory: pytest.TempPathFactory) -> NetworkAlone:
    """(environment, transit gateway, egress) -> keys, logs and network, synthesized."""
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.network import Network
    from millrace_infra.observability.logs import Logs
    from millrace_infra.security import Keys
    from millrace_infra.settings import Environment, load
    from millrace_infra.stack import Stack
    from millrace_infra.terraform import App

    @cache
    def of(
        name: str, transit_gateway_id: str = "", egress: str = "", people: tuple[str, ...] = ()
    ) -> Program:
        settings = load(name, SUFFIX, folder=FOLDER).settings
        changes = ({"egress": egress} if egress else {}) | ({"allowed_networks": people} if people else {})
        network = settings.network.model_copy(update=changes)
        environment = Environment(name, SUFFIX, settings.model_copy(update={"network": network}))
        outdir: Path = tmp_path_factory.mktemp("network")
        app = App(outdir=str(outdir))
        stack = Stack(app, "network", environment, tags=environment.tags)
        keys = Keys(stack, "keys", environment=environment)
        logs = Logs(stack, "logs", environment=environment, key=keys["logs"])
        Network(stack, "network", environment=environment, logs=logs, transit_gateway_id=transit_gateway_id)
        app.synth()
        return Program("network", (outdir / "stacks" / "network" / "cdk.tf.json").read_text())

    return of
