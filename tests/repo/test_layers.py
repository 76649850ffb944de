"""Imports point down, and stages never import each other."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_point_down() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_module_has_its_layer() -> None:
    """A new module at the top is a decision about what may import it."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    placed = {name.strip(" ()") for line in contract["layers"] for name in line.replace("|", ":").split(":")}
    source = ROOT / "src/millrace"
    modules = {path.stem for path in source.glob("*.py")} - {"__init__"}
    packages = {path.name for path in source.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert (modules | packages) - placed == set()
