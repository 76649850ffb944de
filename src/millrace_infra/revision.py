"""Which program and which images are deployed: what one must know to go back, kept with the platform's outputs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from millrace_infra.images import NAMES

VARIABLE: Final = "commit"
"""Terraform variable, and output."""
IMAGE: Final = "{name}_image"
"""Output: the image that runs, by digest, in the suffix's own registry."""


def commit_here(folder: Path = Path()) -> str:
    """The commit of the program that is at work; empty outside of a repository."""
    if shutil.which("git") is None:
        return ""
    command = ["git", "-C", str(folder), "rev-parse", "--verify", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def lines(outputs: Mapping[str, Any]) -> Iterator[str]:
    """name=value, as a hosted CI takes outputs of a step; nothing where one could not go back to it."""
    found = {VARIABLE: outputs.get(VARIABLE, "")}
    found |= {f"image_{name}": outputs.get(IMAGE.format(name=name), "") for name in NAMES}
    if all(found.values()):
        yield from (f"{name}={value}" for name, value in found.items())
