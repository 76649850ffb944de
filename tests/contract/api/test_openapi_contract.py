"""The API against its own contract: generated calls, right ones and wrong ones, over every operation of /openapi.json.

Examples are bounded and their seed is fixed. `/v1/live` never ends and has tests of its own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import schemathesis
from api_platform import Platform
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection, not_a_server_error, response_schema_conformance

from millrace.api.app import create_app
from millrace.api.dependencies import Dependencies
from millrace.clock import EdgeClock

EXAMPLES = 25
PROBLEM_FIELDS = {"type", "title", "status", "code", "detail"}
ENDLESS = {"/v1/live"}
NOTHING_TO_GET_WRONG = {
    "POST /v1/readings",  # any bytes are a body; what is wrong in it is a reject, and `test_api_readings.py` has those
    "GET /v1/equipment/{path}/live",  # any text is a path
    "GET /v1/stats",
    "GET /v1/health/live",
    "GET /v1/health/ready",
}

application = create_app(cast("Dependencies", SimpleNamespace(clock=EdgeClock(), token="")))
schema = schemathesis.openapi.from_dict(application.openapi())
OPERATIONS = {
    operation.label: operation
    for operation in (found.ok() for found in schema.get_all_operations())
    if operation.path not in ENDLESS
}


def test_every_operation_is_called_but_the_endless_one() -> None:
    paths = application.openapi()["paths"]
    assert {operation.path for operation in OPERATIONS.values()} == set(paths) - ENDLESS
    assert len(OPERATIONS) >= 12


def call(platform: Platform, case: Any) -> Any:
    return case.call(base_url=platform.url, headers=dict(platform.client.headers), timeout=60)


def check_problem(response: Any) -> None:
    """Whatever is refused says so in the one form, and its status is the answer's."""
    assert response.headers["content-type"] == ["application/problem+json"]
    told = response.json()
    assert told.keys() >= PROBLEM_FIELDS
    assert told["status"] == response.status_code
    assert told["detail"]


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        pytest.param(label, mode, id=f"{label} {mode.value}")
        for label in OPERATIONS
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or label not in NOTHING_TO_GET_WRONG
    ],
)
def test_an_operation_keeps_its_contract(platform: Platform, label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]

    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps(case: Any) -> None:
        response = call(platform, case)
        checks = [not_a_server_error, response_schema_conformance]
        if mode is GenerationMode.NEGATIVE:
            checks.append(negative_data_rejection)
        case.validate_response(response, checks=checks)
        if response.status_code >= 400:
            check_problem(response)

    keeps()
