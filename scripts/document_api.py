"""Print src/millrace_infra/edge/service.json: the API's own OpenAPI document, without starting the API.

The edge's definition is made out of it. Written anew by

    python scripts/document_api.py > src/millrace_infra/edge/service.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from millrace.api.app import create_app
from millrace.api.dependencies import Dependencies
from millrace.clock import EdgeClock


def document() -> str:
    """The text of the file. Routes need nothing until they are called, so nothing is what they get."""
    needs = cast("Dependencies", SimpleNamespace(clock=EdgeClock(), token=""))
    found: dict[str, Any] = create_app(needs).openapi()
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
