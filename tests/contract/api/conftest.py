"""The fixtures of `api_platform.py`, which tests here import by name too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from api_platform import cache, clock, follower, platform, postgres, postgres_server, writer

__all__ = ["cache", "clock", "follower", "platform", "postgres", "postgres_server", "writer"]
