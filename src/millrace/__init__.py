"""Millrace: a manufacturing data platform. Start reading at `batch.py`, then `pipeline.py`."""

from pathlib import Path

from millrace.kernel_cache import forget_stale

__version__ = "0.1.0"

forget_stale(Path(__file__).parent)  # before any kernel is loaded
