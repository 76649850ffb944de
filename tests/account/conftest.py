"""Where the deployed platform is; without one, and unless it is asked for, each test is skipped with the reason."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OUTPUTS = Path("cfn-outputs") / "flat-outputs.json"
Clients = Callable[[str], Any]


@pytest.fixture(scope="session")
def outputs(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What `make deploy` wrote: flat name -> value."""
    asked = request.config.getoption("markexpr") == "account"
    if not OUTPUTS.exists():
        # who asks for a verification is not told that all is well where nothing was looked at
        (pytest.fail if asked else pytest.skip)(
            f"nothing is deployed from here: {OUTPUTS} is not there (make deploy, make outputs)"
        )
    if not asked:
        pytest.skip("a deployed platform is asked by `make verify-deployed` alone")
    found: dict[str, Any] = json.loads(OUTPUTS.read_text())
    if (suffix := os.environ.get("SUFFIX", found["suffix"])) != found["suffix"]:
        pytest.fail(
            f"SUFFIX: found {suffix!r}, and {OUTPUTS} is of {found['suffix']!r}: make outputs writes another"
        )
    return found


@pytest.fixture(scope="session")
def client(outputs: dict[str, Any]) -> Clients:
    """`client("ecs")`: with the credentials of the shell, in the region of what was deployed."""
    import boto3

    region = outputs["worker_task_definition_arn"].split(":")[3]
    return lambda service: boto3.client(service, region_name=region)
