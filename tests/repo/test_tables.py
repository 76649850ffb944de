"""Detectors, protocols and sinks are in their tables: what is not in one does not exist."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import millrace.process.detect
import millrace.protocols
import millrace.sinks
from millrace.process.detect.contract import Detector
from millrace.process.detect.table import DETECTORS
from millrace.protocols import PROTOCOLS
from millrace.sinks.table import SINKS

ROOT = Path(__file__).parents[2]
NO_SINKS = {"unsaid", "contract", "live_shard", "manifest", "table"}
NO_BODIES = {"control"}  # ticks, marks, model chunks: ours alone


def test_every_detector_is_in_its_table() -> None:
    defined = {
        value.name
        for module in _modules(millrace.process.detect)
        for value in vars(module).values()
        if isinstance(value, Detector)
    }
    assert defined == {detector.name for detector in DETECTORS}


def test_every_sink_is_in_its_table() -> None:
    names = {module.name for module in pkgutil.iter_modules(millrace.sinks.__path__)} - NO_SINKS
    assert names == {row.name for row in SINKS}


@pytest.mark.parametrize("row", SINKS, ids=lambda row: row.name)
def test_a_sinks_row_names_a_class_that_exists(row) -> None:  # type: ignore[no-untyped-def]
    assert isinstance(getattr(importlib.import_module(row.module), row.type), type)


def test_every_decoder_is_in_its_table() -> None:
    """A module of `protocols` with a decoder for bodies is a row, `json_text` the rows json and ndjson."""
    decoders = {
        module.__name__.rpartition(".")[2].removesuffix("_text")
        for module in _modules(millrace.protocols)
        if getattr(getattr(module, "decode", None), "__module__", "") == module.__name__
    }
    assert decoders - NO_BODIES <= {row.name for row in PROTOCOLS}


@pytest.mark.parametrize("page", ["detector", "sink", "protocol", "alarm"])
def test_how_to_add_one_is_written_down(page: str) -> None:
    assert len((ROOT / "docs/add" / f"{page}.md").read_text()) > 400


def _modules(package):  # type: ignore[no-untyped-def]
    return [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
    ]
