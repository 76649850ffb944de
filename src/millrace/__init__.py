"""Millrace: a manufacturing data platform. Start reading at `batch.py`, then `pipeline.py`."""

__version__ = "0.1.0"
