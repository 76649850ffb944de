"""Every stack of every environment: a rule that holds for the platform alone would leave its registry out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.infra.conftest import ENVIRONMENTS, SUFFIX, Synthesize
from tests.infra.program import Program

STACKS = ("platform", "registry", "account")
OF_A_SUFFIX = {"platform": f"millrace-{SUFFIX}", "registry": f"millrace-registry-{SUFFIX}"}
Stacks = Callable[[str, str], Program]


@pytest.fixture(scope="session")
def stacks(synthesize: Synthesize) -> Stacks:
    """(environment, kind of stack) -> program."""

    def of(environment: str, kind: str) -> Program:
        return synthesize(environment)[OF_A_SUFFIX.get(kind, f"millrace-{kind}")]

    return of


@pytest.fixture(scope="session", params=[(e, kind) for e in ENVIRONMENTS for kind in STACKS], ids="-".join)
def stack(request: pytest.FixtureRequest, stacks: Stacks) -> Program:
    """Each stack there is."""
    return stacks(*request.param)


@pytest.fixture(
    scope="session", params=[(e, kind) for e in ENVIRONMENTS for kind in OF_A_SUFFIX], ids="-".join
)
def suffixed(request: pytest.FixtureRequest, stacks: Stacks) -> Program:
    """Each stack that belongs to a suffix."""
    return stacks(*request.param)
