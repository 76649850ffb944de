"""One page and one real provider for a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.sign_in.processes import Places, page_and_provider


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with page_and_provider(tmp_path_factory.mktemp("sign-in")) as places:
        yield places
