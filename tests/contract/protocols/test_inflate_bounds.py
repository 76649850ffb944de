"""A compressed body is inflated whole or not at all, and never beyond its bound."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import REASON_NAMES
from millrace.errors import ProtocolError
from millrace.protocols import inflate

MIB = 1024**2


def zstd_streamed(raw: bytes) -> bytes:
    """Without the raw length in its head, as a streaming sender writes it."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(raw) + packer.flush()


PACKERS = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "zstd_streamed": zstd_streamed,
    "identity": bytes,
}
packers = pytest.mark.parametrize("name", PACKERS)


def inflated(name: str, body: bytes, bytes_max: int = MIB) -> bytes:
    return inflate(body, name.removesuffix("_streamed"), bytes_max)


@packers
@given(raw=st.binary(max_size=5_000))
@settings(max_examples=30)
def test_bodies_come_back(name: str, raw: bytes) -> None:
    assert inflated(name, PACKERS[name](raw)) == raw


@pytest.mark.parametrize("name", ["gzip", "zstd", "zstd_streamed"])
@pytest.mark.parametrize("over", [1, 200 * MIB])
def test_a_bomb_is_refused_in_bounded_memory(name: str, over: int) -> None:
    bomb = PACKERS[name](bytes(MIB + over))
    tracemalloc.start()
    with pytest.raises(ProtocolError, match="compression_bomb"):
        inflated(name, bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * MIB


@pytest.mark.parametrize("name", ["gzip", "zstd", "zstd_streamed"])
def test_a_body_cut_anywhere_is_refused(name: str) -> None:
    body = PACKERS[name](b"reading " * 500 + bytes(range(256)))
    for length in range(len(body)):
        with pytest.raises(ProtocolError) as refused:
            inflated(name, body[:length])
        assert refused.value.reason in REASON_NAMES


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_bytes_after_the_end_are_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        inflated(name, PACKERS[name](b"reading") + b"more")


@pytest.mark.parametrize("name", ["gzip", "zstd", "br"])
@given(junk=st.binary(max_size=200))
@settings(max_examples=100)
def test_random_bytes_are_refused_by_name(name: str, junk: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        inflate(junk, name, MIB)
    assert refused.value.reason in REASON_NAMES
