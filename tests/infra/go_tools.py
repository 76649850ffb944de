"""Where the tools in Go are: those of `make go-tools`, else the machine's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

FOLDER: Final = Path(".tools/go/bin").absolute()


def found(tool: str) -> str | None:
    return shutil.which(tool, path=os.pathsep.join((str(FOLDER), os.environ.get("PATH", ""))))
