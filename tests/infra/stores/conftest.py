"""One construct by itself, under settings that no environment's file has: `alone(make, stream__mode="on_demand")`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program

Alone = Callable[..., Program]


class Isolated:
    """The network, as far as a store asks."""

    def __init__(self) -> None:
        self.isolated_subnet_ids = ["subnet-1", "subnet-2"]

    def security_group(self, party: str) -> str:
        return f"sg-{party}"


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """Synthesizes what `make(stack, environment, keys)` makes, with `dev` changed at the dotted keys.

    Once for each `make` and change: a promise is asked by its own test and again for each mutation of it.
    """
    if shutil.which("node") is None:
        pytest.skip("synthesis needs Node.js, and none was found")
    from millrace_infra.security import Keys
    from millrace_infra.settings import load
    from millrace_infra.stack import Stack
    from millrace_infra.terraform import App

    def made(make: Callable[[Any, Any, Any], object], changes: dict[str, object]) -> Program:
        tmp_path = tmp_path_factory.mktemp("alone")
        content = yaml.safe_load((FOLDER / "dev.yaml").read_text())
        for dotted, value in changes.items():
            *parents, last = dotted.split("__")
            place = content
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        (tmp_path / "dev.yaml").write_text(yaml.safe_dump(content))
        environment = load("dev", SUFFIX, folder=tmp_path)
        app = App(outdir=str(tmp_path / "out"))
        stack = Stack(app, "alone", environment, tags=environment.tags)
        make(stack, environment, Keys(stack, "keys", environment=environment))
        app.synth()
        return Program("alone", (tmp_path / "out/stacks/alone/cdk.tf.json").read_text())

    found: dict[tuple[object, str], Program] = {}

    def of(make: Callable[[Any, Any, Any], object], **changes: object) -> Program:
        key = (make, repr(changes))
        return found[key] if key in found else found.setdefault(key, made(make, changes))

    return of
