"""docs/settings.md is written out of the code and is current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from millrace.settings import Settings

ROOT = Path(__file__).parents[2]
SELF_EVIDENT = {"api_host", "log_level", "rollup_1s_retention_days", "rollup_1m_retention_days"}


def test_the_settings_page_is_current() -> None:
    written = subprocess.run(
        [sys.executable, "scripts/document_settings.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs/settings.md").read_text() == written, "run `make docs`"


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - SELF_EVIDENT))
def test_every_setting_has_its_manual(name: str) -> None:
    assert Settings.model_fields[name].description, f"give Settings.{name} a docstring"
