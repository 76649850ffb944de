"""`millrace replay`: a labelled dataset as if it were live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.platform import HomeOption, running

if TYPE_CHECKING:
    from millrace.devices.replay import Replay
    from millrace.devices.simulator import Send
    from millrace.ingest.producer import Producer

CLOSE_S = 30.0


def replay(
    files: Annotated[
        list[Path], typer.Argument(help="CSV files of a dataset: SKAB, NAB, or time and numbers.")
    ],
    home: HomeOption = None,
    speed: Annotated[float, typer.Option(min=0.001, help="1 is live, 60 sends a minute a second.")] = 1.0,
    spacing: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="0.01 makes five minutes between rows three seconds.")
    ] = 1.0,
    original_times: Annotated[
        bool,
        typer.Option("--original-times", help="Keep the dataset's times instead of shifting them to now."),
    ] = False,
) -> None:
    """Replay labelled data through the running platform: times shifted to now, their spacing kept, at a
    speed.
    """
    from millrace.clock import EdgeClock
    from millrace.devices.datasets import read_dataset
    from millrace.devices.replay import Replay
    from millrace.ingest.delivery import StreamTransport
    from millrace.ingest.producer import Producer
    from millrace.stream.valkey import ValkeyStream

    settings, endpoints = running(home)
    datasets = [read_dataset(file) for file in files]
    clock = EdgeClock()
    stream = ValkeyStream(
        endpoints.stream_url, shard_count=endpoints.shards, bytes_max=settings.stream_bytes_max
    )
    transport = StreamTransport.guarded(stream, settings, clock)
    producer = Producer(transport, shard_count=endpoints.shards, clock=clock)
    producer.start()
    try:
        for dataset in datasets:
            chosen = Replay(
                dataset, clock.now_us(), speed=speed, spacing=spacing, original_times=original_times
            )
            _send(chosen, _sender(producer, chosen), clock)
    finally:
        unsent = producer.close(CLOSE_S)
        stream.close()
    if unsent:
        raise typer.Exit(1)


def _sender(producer: Producer, chosen: Replay) -> Send:
    dictionary = producer.dictionary(chosen.source)
    for tag in chosen.tags:
        dictionary.index(tag)

    def send(readings) -> int:  # type: ignore[no-untyped-def]
        return producer.send(readings.source, readings.tag, readings.ts_us, readings.value, readings.quality)

    return send


def _send(chosen: Replay, send: Send, clock) -> None:  # type: ignore[no-untyped-def]
    from rich.console import Console
    from rich.progress import Progress

    from millrace.devices.replay import run

    total = len(chosen.leave_us)
    typer.echo(f"{chosen.dataset.name}: {total:,} rows of {len(chosen.tags)} tags as source {chosen.source}")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(chosen.dataset.name, total=total)
        done = run(
            chosen, send, clock, on_progress=lambda progress: bar.update(task, completed=progress.rows)
        )
    typer.echo(f"  sent {done.readings:,} readings, refused {done.refused:,}; first tag {chosen.tags[0]}")
    for start_us, end_us in chosen.anomalies():
        typer.echo(f"  labelled abnormal: {_text(start_us)} to {_text(end_us)}")


def _text(ts_us: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ts_us / 1e6, UTC).isoformat(timespec="milliseconds")
