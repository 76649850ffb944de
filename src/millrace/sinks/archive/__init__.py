"""The archive: every applied reading and every reject in files, listed in PostgreSQL."""

from __future__ import annotations

from millrace.sinks.archive.sink import ArchiveSink

__all__ = ["ArchiveSink"]
