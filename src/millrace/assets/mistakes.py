"""What is wrong in an asset model file: every mistake with its line, not the first only."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from millrace.errors import AssetModelError

MISTAKES_SHOWN_MAX: Final = 200


class Mistakes:
    """Collects `file:line: what was found, what was wanted, what to do`; bounded."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lines: list[tuple[int, str]] = []
        self._unshown = 0

    def add(self, line: int, message: str) -> None:
        """Note one mistake; `line` is 1-based."""
        if len(self._lines) < MISTAKES_SHOWN_MAX:
            self._lines.append((line, message))
        else:
            self._unshown += 1

    def raise_if_any(self) -> None:
        """AssetModelError with all of them, in order of their lines."""
        if not self._lines:
            return
        shown = [f"{self.file}:{line}: {message}" for line, message in sorted(self._lines)]
        if self._unshown:
            shown.append(f"{self.file}: and {self._unshown} more mistakes that are not shown")
        raise AssetModelError(shown)
