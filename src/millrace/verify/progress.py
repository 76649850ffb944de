"""How far a recount is, for whoever watches: what is counted, how much of it is done, how much there is."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str, int, int], None]
"""(what, done, of). Called from the thread that counts: it must not wait."""


def nobody(what: str, done: int, of: int) -> None:
    """Nobody watches."""
