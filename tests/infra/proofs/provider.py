"""What the AWS provider's own schema says: written by `scripts/describe_provider.py`, so that no list of kinds ages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

_DESCRIBED: Final = json.loads((Path(__file__).parent / "provider.json").read_text())
TAGGABLE: Final[frozenset[str]] = frozenset(_DESCRIBED["taggable"])
KEYED: Final[dict[str, list[str]]] = _DESCRIBED["keyed"]
"""Kind -> dotted paths of the attributes in which it can name a KMS key."""
