"""The rotations with what they stand on, in each way out of the network that the settings offer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program

PLAN = "plan-of-integrations"
Rotations = Callable[..., Program]


@pytest.fixture(scope="session")
def rotations(tmp_path_factory: pytest.TempPathFactory) -> Rotations:
    """(environment, egress) -> the program; `rotations.folder` of it holds the stack with the zips."""
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.network import Network
    from millrace_infra.observability.logs import Logs
    from millrace_infra.rotation import Rotation
    from millrace_infra.secrets import ExistingSecrets
    from millrace_infra.security import Keys
    from millrace_infra.settings import Environment, load
    from millrace_infra.sinks.aurora import Aurora
    from millrace_infra.stack import Stack
    from millrace_infra.terraform import App

    @cache
    def of(name: str = "dev", egress: str = "") -> Program:
        settings = load(name, SUFFIX, folder=FOLDER).settings
        network = settings.network.model_copy(update={"egress": egress} if egress else {})
        e = Environment(name, SUFFIX, settings.model_copy(update={"network": network}))
        outdir: Path = tmp_path_factory.mktemp("rotation")
        app = App(outdir=str(outdir))
        stack = Stack(app, "rotations", e, tags=e.tags)
        keys = Keys(stack, "keys", environment=e)
        logs = Logs(stack, "logs", environment=e, key=keys["logs"])
        made = Network(stack, "network", environment=e, logs=logs)
        secrets = ExistingSecrets(stack, "secrets", environment=e)
        database = Aurora(
            stack, "aurora", environment=e, key=keys["database"], network=made, secrets=secrets,
            log_key=keys["logs"],
        )  # fmt: skip
        Rotation(
            stack, "rotation", environment=e, keys=keys, network=made, secrets=secrets, logs=logs,
            database=database, usage_plan_id=PLAN,
        )  # fmt: skip
        app.synth()
        folder = outdir / "stacks" / "rotations"
        program = Program("rotations", (folder / "cdk.tf.json").read_text())
        program.json["folder"] = str(folder)  # where the zips lie
        return program

    return of
