"""The emulator that judges roles, and in it two suffixes of one environment, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.infra.conftest import SUFFIX, Synthesize
from tests.infra.ministack.roles.account import Account
from tests.infra.ministack.roles.probes import ROLES
from tests.infra.ministack.server import ministack, missing

NEIGHBOUR = "t2"


@pytest.fixture(scope="session")
def judging() -> Iterator[str]:
    """Address of an emulator that asks for each call whether its signer may."""
    if reason := missing():
        pytest.skip(reason)
    with ministack(auth=True) as found:
        yield found


@pytest.fixture(scope="session")
def account(judging: str, synthesize: Synthesize) -> Callable[[str], Account]:
    """suffix -> what is its own in the emulator."""

    @cache
    def of(suffix: str = SUFFIX) -> Account:
        stacks = synthesize("dev", suffix)
        return Account(judging, stacks[f"millrace-{suffix}"], stacks[f"millrace-registry-{suffix}"])

    return of


@pytest.fixture(scope="session")
def at(account: Callable[[str], Account]) -> Account:
    """The suffix under test, its roles made; nobody but services can take them yet."""
    made = account(SUFFIX)
    for path in ROLES.values():
        made.make_role(path)
    return made


@pytest.fixture(scope="session")
def neighbour(account: Callable[[str], Account]) -> Account:
    return account(NEIGHBOUR)
