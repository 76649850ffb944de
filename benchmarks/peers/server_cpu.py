"""CPU seconds of a PostgreSQL server: the postmaster, every backend that it has seen end, and those that live."""

from __future__ import annotations

from typing import Final

import psutil
import psycopg

LOOKS_MAX: Final = 10
"""A process that ends between two readings would be missed: look again, but not for ever."""


def postmaster_of(url: str) -> psutil.Process:
    """The server's first process, which is the parent of any backend."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        found = psutil.Process(row[0]).parent()
    if found is None:
        raise RuntimeError(f"backend {row[0]} has no parent here, wanted a PostgreSQL server on this machine")
    return found


def family_cpu_s(parent: psutil.Process) -> float:
    """User and system seconds of a process, of its children that have ended and of those that live."""
    total = 0.0
    for _ in range(LOOKS_MAX):
        before = {child.pid for child in parent.children()}
        total = _seconds(parent, ended=True) + sum(
            _seconds(child, ended=False) for child in parent.children()
        )
        if {child.pid for child in parent.children()} == before:
            break
    return total


def _seconds(process: psutil.Process, *, ended: bool) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(
        times.user + times.system + ((times.children_user + times.children_system) if ended else 0.0)
    )
