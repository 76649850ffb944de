"""`millrace replay`: a labelled dataset as if it were live."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.cli.platform import HomeOption, JsonOption, print_json, running
from millrace.cli.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.clock import EdgeClock
    from millrace.devices.plant import SourceReadings
    from millrace.devices.replay import Replay
    from millrace.devices.simulator import Send
    from millrace.ingest.producer import Producer
    from millrace.local.endpoints import Endpoints
    from millrace.settings import Settings
    from millrace.stream.valkey import ValkeyStream

CLOSE_S = 30.0


@dataclass
class Outcome:
    """What became of one dataset's readings. `refused`: the platform took them within no bounded time."""

    sent: Replay
    readings: int
    refused: int

    @property
    def too_old(self) -> int:
        return self.sent.too_old_rows * len(self.sent.tags)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.sent.dataset.name,
            "source": self.sent.source,
            "tags": list(self.sent.tags),
            "rows": len(self.sent.leave_us),
            "first_ts_us": int(self.sent.ts_us[0]),
            "last_ts_us": int(self.sent.ts_us[-1]),
            "sent": self.readings,
            "refused": self.refused,
            "too_old": self.too_old,
            "labelled": self.sent.dataset.labelled,
            "abnormal": [{"start_us": start, "end_us": end} for start, end in self.sent.anomalies()],
        }

    def lines(self) -> Iterable[str]:
        yield f"  sent {self.readings:,} readings; first tag {self.sent.tags[0]}"
        for start_us, end_us in self.sent.anomalies():
            yield f"  labelled abnormal: {iso(start_us)} to {iso(end_us)}"


@dataclass
class Told:
    """All that a replay has to say at its end."""

    past_max_s: float
    model_number: int | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    unsent: int = 0
    trouble: str = ""

    def as_json(self) -> dict[str, Any]:
        datasets = [outcome.as_json() for outcome in self.outcomes]
        return {"model_number": self.model_number, "datasets": datasets, "unsent": self.unsent}

    def mistakes(self) -> list[str]:
        """What did not arrive, one sentence a cause; empty when everything did."""
        refused = sum(outcome.refused for outcome in self.outcomes)
        too_old = sum(outcome.too_old for outcome in self.outcomes)
        why = f" ({self.trouble})" if self.trouble else ""
        said = []
        if refused:
            said.append(f"{refused:,} readings were not taken: the platform had no room for them{why}")
        if self.unsent:
            said.append(f"{self.unsent:,} readings were not stored by the stream within {CLOSE_S:g} s{why}")
        if too_old:
            said.append(
                f"{too_old:,} readings are older than the {self.past_max_s:,.0f} s that the platform takes as past "
                "(MILLRACE_PAST_MAX_S) and are refused as time_too_old; "
                "replay without --original-times to shift them to now"
            )
        return said


def replay(
    files: Annotated[
        list[Path], typer.Argument(help="CSV files: of SKAB, of NAB, or any with a time and then numbers.")
    ],
    home: HomeOption = None,
    speed: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="1: as fast as recorded; 60: an hour in a minute.")
    ] = 1.0,
    spacing: Annotated[
        float,
        typer.Option(
            min=1e-6, max=1.0, help="Shrinks the time between rows: 0.01 makes 5 minutes 3 seconds."
        ),
    ] = 1.0,
    original_times: Annotated[
        bool,
        typer.Option("--original-times", help="Keep the file's times instead of shifting them to now."),
    ] = False,
    model: Annotated[
        bool,
        typer.Option(
            "--model/--no-model", help="First give its tags units, class and period in the asset model."
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Send recorded data as if it were measured now.

    Times are shifted to now and keep their spacing. Each file becomes a source of its own. At the end it
    prints where the recording's own labels say that it was abnormal. Exit 1 when readings did not arrive.
    """
    settings, endpoints = running(home)
    told = Told(past_max_s=settings.past_max_s)
    planned = _planned(files, settings, speed, spacing, original_times=original_times)
    with _stream(settings, endpoints) as stream:
        if model:
            told.model_number = _publish(planned, endpoints, stream)
        _send_all(planned, told, settings, stream, quiet=as_json)
    if as_json:
        print_json(told.as_json())
    for mistake in told.mistakes():
        typer.echo(f"millrace: {mistake}", err=True)
    raise typer.Exit(1 if told.mistakes() else 0)


@contextmanager
def _stream(settings: Settings, endpoints: Endpoints) -> Iterator[ValkeyStream]:
    from millrace.stream.valkey import ValkeyStream

    stream = ValkeyStream(
        endpoints.stream_url, shard_count=endpoints.shards, bytes_max=settings.stream_bytes_max
    )
    try:
        yield stream
    finally:
        stream.close()


def _planned(
    files: list[Path], settings: Settings, speed: float, spacing: float, *, original_times: bool
) -> list[Replay]:
    """All files read and judged before the first reading leaves."""
    from millrace.clock import EdgeClock
    from millrace.devices.datasets import read_dataset
    from millrace.devices.replay import Replay

    return [
        Replay(
            read_dataset(file),
            EdgeClock().now_us(),
            speed=speed,
            spacing=spacing,
            original_times=original_times,
            past_max_us=round(settings.past_max_s * 1e6),
        )
        for file in files
    ]


def _publish(planned: list[Replay], endpoints: Endpoints, stream: ValkeyStream) -> int:
    """The datasets' tags beside those that the model in force knows; the number of the change."""
    from millrace.assets.load import extended
    from millrace.assets.publish import extend

    whole = planned[0].model
    for one in planned[1:]:
        whole = extended(whole, one.model)
    return extend(endpoints.postgres_url, stream, whole, made_by="millrace replay")


def _send_all(
    planned: list[Replay], told: Told, settings: Settings, stream: ValkeyStream, *, quiet: bool
) -> None:
    from millrace.clock import EdgeClock
    from millrace.ingest.delivery import StreamTransport
    from millrace.ingest.producer import Producer

    clock = EdgeClock()
    transport = StreamTransport.guarded(stream, settings, clock)
    producer = Producer(transport, shard_count=stream.shard_count, clock=clock)
    producer.start()
    try:
        for plan in planned:
            chosen = replace(plan, start_us=clock.now_us())
            told.outcomes.append(_send(chosen, _sender(producer, chosen), clock, quiet=quiet))
    finally:
        told.unsent = producer.close(CLOSE_S) + producer.counts.refused
        told.trouble = producer.counts.last_trouble


def _sender(producer: Producer, chosen: Replay) -> Send:
    dictionary = producer.dictionary(chosen.source)
    for tag in chosen.tags:
        dictionary.index(tag)

    def send(readings: SourceReadings) -> int:
        return producer.send(readings.source, readings.tag, readings.ts_us, readings.value, readings.quality)

    return send


def _send(chosen: Replay, send: Send, clock: EdgeClock, *, quiet: bool) -> Outcome:
    from rich.console import Console
    from rich.progress import Progress

    from millrace.devices.replay import run

    total = len(chosen.leave_us)
    if not quiet:
        typer.echo(
            f"{chosen.dataset.name}: {total:,} rows of {len(chosen.tags)} tags as source {chosen.source}"
        )
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(chosen.dataset.name, total=total)
        done = run(
            chosen, send, clock, on_progress=lambda progress: bar.update(task, completed=progress.rows)
        )
    outcome = Outcome(chosen, done.readings, done.refused)
    if not quiet:
        typer.echo("\n".join(outcome.lines()))
    return outcome
