"""Where the tests find the published datasets, which are not ours to ship."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
ENV_DATA_DIR = "MILLRACE_DATA_DIR"


def dataset_file(path: str) -> Path:
    """A file below `MILLRACE_DATA_DIR`, else below `../shared/data`; the test is skipped where it is missing."""
    folder = Path(os.environ.get(ENV_DATA_DIR) or CHECKOUT.parent / "shared" / "data")
    file = folder / path
    if not file.is_file():
        pytest.skip(
            f"{file} is not there; clone https://github.com/waico/SKAB as skab/ and "
            f"https://github.com/numenta/NAB as nab/ into a folder that {ENV_DATA_DIR} names"
        )
    return file
