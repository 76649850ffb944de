"""Bytes per reading and time per frame of each wire format.

    python -m benchmarks.micro.decode [--json]

One source of 100 tags, values with two decimals, times within 50 ms: what a gateway sends in one linger.
Times are the best of several rounds (the machine is shared), CPU of this process only.
Arrow is what pyarrow does by itself (columns to record batch to stream and back), without our checks;
`arrow checked` and `ndjson` are our decoders with all their checks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from millrace.batch import Frame, Incarnation
from millrace.protocols import Dictionary, Limits, arrow, frame, json_text

RECEIVED_US = 1_767_600_000_000_000
SEED = 20260105
LIMITS = Limits()


@dataclass(frozen=True)
class Line:
    """A row of the table. `readings_per_cpu_s` is the decoder's."""

    format: str
    readings: int
    bytes_per_reading: float
    encode_us: float
    decode_us: float
    readings_per_cpu_s: float


def plant_frame(readings: int, tags: int = 100) -> Frame:
    """A gateway's frame: tags in turn, two decimals, all good."""
    rng = np.random.default_rng(SEED)
    names = Dictionary()
    for i in range(tags):
        signal = ("spindle-temp", "pressure", "vibration-rms", "motor-current", "position")[i % 5]
        names.index(f"acme/lyon/press-shop/line-{i // 40}/press-{i // 10:02d}/{signal}-{i % 10 // 5}")
    known = names.parsed()
    return Frame(
        source="gateway-042",
        incarnation=Incarnation(RECEIVED_US, 77),
        seq=1,
        received_ts_us=0,
        tags=known.tags,
        kinds=known.kinds,
        tag=rng.integers(0, tags, readings).astype(np.uint32),
        ts_us=RECEIVED_US - 60_000 + np.sort(rng.integers(0, 50_000, readings)),
        value=np.round(rng.normal(70, 3, readings), 2),
        quality=np.full(readings, 192, np.uint8),
        dictionary=known.block,
    )


def best_us(call: Callable[[], object], rounds: int = 15) -> float:
    """CPU microseconds of one call: the best round."""
    call()
    repeats = 1
    while _cpu_us(call, repeats) < 5_000:
        repeats *= 2
    return min(_cpu_us(call, repeats) / repeats for _ in range(rounds))


def _cpu_us(call: Callable[[], object], repeats: int) -> float:
    begin = time.process_time_ns()
    for _ in range(repeats):
        call()
    return (time.process_time_ns() - begin) / 1_000


def arrow_encode(source: Frame, compression: str | None) -> bytes:
    """The plainest Arrow stream of a frame: dictionary of tags, three columns."""
    tag = pa.DictionaryArray.from_arrays(source.tag.astype(np.int32), pa.array(source.tags))
    batch = pa.record_batch(
        [tag, source.ts_us, source.value, source.quality], names=["tag", "ts", "value", "quality"]
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def arrow_decode(data: bytes) -> object:
    """To NumPy columns and a list of tags, unchecked."""
    [batch] = pa.ipc.open_stream(data)
    tag, *columns = batch.columns
    return tag.dictionary.to_pylist(), tag.indices.to_numpy(), [column.to_numpy() for column in columns]


def measure(readings: int) -> list[Line]:
    """One line per format."""
    source = plant_frame(readings)
    rows: list[tuple[str, Callable[[], bytes], Callable[[bytes], object]]] = [
        ("frame", lambda: frame.encode(source), frame.decode),
        ("arrow zstd", lambda: arrow_encode(source, "zstd"), arrow_decode),
        ("arrow lz4", lambda: arrow_encode(source, "lz4"), arrow_decode),
        ("arrow stored", lambda: arrow_encode(source, None), arrow_decode),
        ("arrow checked", lambda: arrow.encode(source), _arrow_checked),
        ("ndjson", lambda: json_text.encode_ndjson(source), _ndjson),
    ]
    lines = []
    for name, encode, decode in rows:
        data = encode()
        decode_us = best_us(lambda decode=decode, data=data: decode(data))  # type: ignore[misc]
        encode_us = best_us(encode)
        lines.append(
            Line(name, readings, len(data) / readings, encode_us, decode_us, readings / decode_us * 1e6)
        )
    return lines


def _arrow_checked(data: bytes) -> object:
    return arrow.decode(data, limits=LIMITS, received_ts_us=RECEIVED_US)


def _ndjson(data: bytes) -> object:
    return json_text.decode(data, content="ndjson", limits=LIMITS, received_ts_us=RECEIVED_US)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    as_json = arguments.parse_args().json
    if not as_json:
        print("| readings | format | B/reading | encode us | decode us | decoded readings/CPU s |")
        print("|---|---|---|---|---|---|")
    for readings in (50, 1_000, 10_000):
        for line in measure(readings):
            if as_json:
                print(json.dumps(asdict(line)))
                continue
            print(
                f"| {line.readings} | {line.format} | {line.bytes_per_reading:.1f} | {line.encode_us:.1f} "
                f"| {line.decode_us:.1f} | {line.readings_per_cpu_s / 1e6:.2f} M |"
            )


if __name__ == "__main__":
    main()
