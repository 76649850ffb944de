"""One emulator, and the life of each environment on it, run once and told by many tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ENVIRONMENTS, FOLDER
from tests.infra.cycle.command_line import Said, ended
from tests.infra.cycle.deployment import Aws, Deployment, missing, secrets_of, with_what_exists
from tests.infra.cycle.differences import Difference, differences
from tests.infra.cycle.inventory import inventory
from tests.infra.emulator.server import emulator

SUFFIX = "t1"
PARAMETERS = [pytest.param(name, marks=[] if name == "dev" else [pytest.mark.long]) for name in ENVIRONMENTS]


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    if reason := missing():
        pytest.skip(reason)
    with emulator() as address:
        yield Aws(address)


@pytest.fixture(scope="session")
def settings(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environments, as they are but for what they expect to exist."""
    return with_what_exists(aws, FOLDER, tmp_path_factory.mktemp("environments"))


@dataclass(frozen=True)
class Cycle:
    """What happened when an environment was deployed, planned again, tampered with and destroyed, verb by verb."""

    deployment: Deployment
    deployed: Said
    destroyed: Said
    outputs: dict[str, Any]
    """As `deploy` wrote them."""
    outputs_again: dict[str, Any]
    """As the verb `outputs` did."""
    managed: list[str]
    differences: set[Difference]
    """Of the second plan."""
    after_tampering: set[Difference]
    written: str
    log: Path
    """Terraform's, of the deployment."""
    left: set[tuple[str, str]]

    @property
    def said(self) -> list[Said]:
        return self.deployment.command_line.said


@pytest.fixture(scope="session", params=PARAMETERS)
def cycle(
    request: pytest.FixtureRequest, aws: Aws, settings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Cycle:
    name = request.param
    deployment = Deployment(aws, name, SUFFIX, folder=tmp_path_factory.mktemp(name), settings=settings)
    aws.prepare(deployment.environment, secrets_of(deployment.environment))
    before = inventory(aws, deployment.environment.region)
    deployment.synthesize()
    ended(deployment.command_line("preflight"))
    log = deployment.command_line.folder / "terraform.log"
    deployed = deployment.deploy(log)
    outputs, outputs_again = deployment.written_outputs(), deployment.outputs()
    ended(deployment.command_line("deployed"))
    _, plan = deployment.plan()
    managed, written = deployment.managed(), deployment.everything_written()
    after_tampering = tampered(deployment)
    destroyed = deployment.destroy()
    return Cycle(
        deployment, deployed, destroyed, outputs, outputs_again, managed, differences(plan), after_tampering,
        written, log, inventory(aws, deployment.environment.region) - before,
    )  # fmt: skip


def tampered(deployment: Deployment) -> set[Difference]:
    """Someone switches a key's rotation off by hand: what the next plan says."""
    kms = deployment.aws.client("kms", deployment.environment.region)
    alias = f"alias/{deployment.environment.names.of('stream')}"
    key = kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"]
    kms.disable_key_rotation(KeyId=key)
    changes, plan = deployment.plan()
    assert changes
    return differences(plan)
