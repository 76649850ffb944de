"""One page and one real provider for a module; a page and a provider that lies for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.sign_in.processes import Places, page_and_provider
from tests.contract.sign_in.provider import providing
from tests.contract.sign_in.visited_page import Page


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with page_and_provider(tmp_path_factory.mktemp("sign-in")) as places:
        yield places


@pytest.fixture
def page() -> Iterator[Page]:
    with providing() as provider:
        yield Page(provider)
