"""A worker process: owns shards, runs the pipeline, ends when told to or when its parent is gone.

    python -m millrace.worker --index 0 --of 2

Settings come from the environment; the servers' addresses too. Nothing is lost whatever ends it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from millrace import counter_report, telemetry, tracing
from millrace import settings as settings_of
from millrace.batch import Frame, Record
from millrace.clock import Clock, EdgeClock
from millrace.durable import make_folders
from millrace.errors import MillraceError, Unavailable
from millrace.kernel_cache import one_at_a_time
from millrace.long_lived import keep_for_good
from millrace.names import SERVICE_WORKER
from millrace.pipeline import Pace, Pipeline
from millrace.process.alarm import ALARMS
from millrace.process.detect import DETECTORS
from millrace.process.kernels import compile_kernels
from millrace.process.shard import Decode
from millrace.process.state import ProcessLimits
from millrace.protocols import Limits, decode_record
from millrace.schema import live_columns
from millrace.schema.live import Latest
from millrace.settings import Settings
from millrace.shard_keeper import ShardKeeper
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.live_shard import Seed, WindowPart
from millrace.sinks.postgres import Owners, PostgresManifest, PostgresSink, Retention
from millrace.sinks.redis import RedisSink
from millrace.snapshot_keeper import SnapshotKeeper
from millrace.store_thread import StoreThread
from millrace.stream.contract import Stream
from millrace.stream.valkey import ValkeyStream

log = telemetry.logger(__name__)

ARCHIVE_INTERVAL_S = 0.25
RETENTION_EVERY_S = 60.0
DETECTOR_NAMES = tuple(detector.name for detector in DETECTORS)
RULE_NAMES = tuple(rule.name for rule in ALARMS)


class Worker:
    """All parts of one worker, put together."""

    def __init__(self, settings: Settings, *, index: int, workers: int, clock: Clock, stream: Stream) -> None:
        name = f"{SERVICE_WORKER}-{index}"
        url = settings.postgres_url
        self._settings, self._clock = settings, clock
        owners = Owners(url, name, settings)
        self._listing = Owners(url, name, settings)  # the snapshot thread's own session
        identity = owners.identity() or ""
        self._manifest = PostgresManifest(url, settings, owner=name)
        self._archive = ArchiveSink(settings.home / "archive", self._manifest, settings, clock, folder_id=identity)
        self._retention = Retention(url, clock, settings) if index == 0 else None
        fast = self._fast_sink(settings, clock)
        stores = {"postgres": self._operational(name), "archive": self._archiving()}
        self.keeper = ShardKeeper(
            index=index,
            workers=workers,
            owners=owners,
            renewing=Owners(url, name, settings),
            stream=stream,
            stores=stores,
            archive=self._archive,
            fast=fast,
            snapshots=SnapshotKeeper(
                settings.home / "snapshots", identity, self._listing, stream, clock, interval_s=settings.segment_age_s
            ),
            clock=clock,
            decode=decoder(settings),
            limits=process_limits(settings),
            inflight_folder=settings.home / "run" / "inflight",
            ownership_s=settings.ownership_s,
        )
        self.pipeline = Pipeline(
            stream=stream,
            shards=self.keeper,
            fast=fast,
            stores=list(stores.values()),
            clock=clock,
            pace=Pace(settings.batch_interval_s, settings.rows_ahead_max),
        )
        self._stores = stores

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`; then a clean end."""
        for store in self._stores.values():
            store.start()
        self.keeper.start()
        upkeep = threading.Thread(target=self._upkeep, args=(stopping,), name="upkeep", daemon=True)
        upkeep.start()
        try:
            self.pipeline.run(stopping.is_set)
        finally:
            self.keeper.close()
            for store in self._stores.values():
                store.stop()

    # --- parts ------------------------------------------------------------------------------------

    def _operational(self, name: str) -> StoreThread:
        sink = PostgresSink(
            self._settings.postgres_url,
            self._clock,
            self._settings,
            owner=name,
            detectors=DETECTOR_NAMES,
            rules=RULE_NAMES,
        )
        return StoreThread(
            sink,
            self._clock,
            interval_s=self._settings.commit_interval_s,
            on_lost=self._lost,
            on_written=lambda outputs, seconds: telemetry.committed(outputs, seconds, self._clock.now_us()),
        )

    def _archiving(self) -> StoreThread:
        return StoreThread(self._archive, self._clock, interval_s=ARCHIVE_INTERVAL_S, on_lost=self._lost)

    def _fast_sink(self, settings: Settings, clock: Clock) -> RedisSink:
        return RedisSink(
            settings.cache_url,
            clock,
            shard_count=settings.shards,
            detectors=DETECTOR_NAMES,
            rules=RULE_NAMES,
            keep_s=2 * settings.segment_age_s + 10,
            bytes_max=settings.cache_bytes_max,
            reseed=self._seed,
        )

    def _lost(self, shard: int) -> None:
        self.keeper.lose(shard)

    def _seed(self, shard: int) -> Seed:
        """Everything that the real-time store must hold of a shard, after it lost it."""
        run = self.keeper.runs[shard]
        state, count = run.state, run.state.tags.count
        newest = state.newest
        never = newest.ts_us[:count] < 0
        latest = Latest(newest.ts_us[:count].copy(), newest.value[:count].copy(), newest.quality[:count].copy())
        latest.ts_us[never] = 0
        return Seed(
            position=run.position,
            time_us=state.time_us,
            tags=run.all_tags(),
            latest=latest,
            window=[WindowPart(first, last, readings) for first, last, readings in run.window],
            sources=run.all_sources(),
        )

    def _upkeep(self, stopping: threading.Event) -> None:
        """Retention, now and then; compaction is the archive thread's."""
        while not stopping.wait(RETENTION_EVERY_S):
            try:
                if self._retention is not None:
                    self._retention.sweep()
            except Unavailable as error:
                log.warning("retention_put_off", error=str(error))


def decoder(settings: Settings) -> Decode:
    """Records to frames, within the limits of the settings."""
    limits = Limits.of(settings)

    def decode(record: Record) -> Sequence[Frame]:
        return decode_record(record, limits)

    return decode


def process_limits(settings: Settings) -> ProcessLimits:
    """The bounds of `process` out of the settings."""
    return ProcessLimits(
        past_us=tuple(round(past_s * 1e6) for past_s in settings.past_s),
        future_us=tuple(round(future_s * 1e6) for future_s in settings.future_s),
        sources_max=settings.sources_max,
        tags_per_source_max=settings.tags_per_source_max,
        new_tags_per_source_day_max=settings.new_tags_per_source_day_max,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The process: settings, signals, run."""
    parser = argparse.ArgumentParser(prog="python -m millrace.worker", description=__doc__)
    parser.add_argument("--index", type=int, default=0, help="which worker this is, from 0")
    parser.add_argument("--of", type=int, default=1, help="how many workers there are")
    chosen = parser.parse_args(arguments)
    try:
        settings = settings_of.load(os.environ)
        telemetry.set_up_logs(level=settings.log_level, json_lines=settings.log_json, service=f"worker-{chosen.index}")
        tracing.set_up_traces(service=SERVICE_WORKER, environ=os.environ)
        with counter_report.reporting(service=SERVICE_WORKER, environ=os.environ):
            _run(settings, chosen.index, chosen.of)
    except MillraceError as error:
        log.error("worker_ended", error=str(error))
        print(f"millrace worker: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _run(settings: Settings, index: int, workers: int) -> None:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    stream = ValkeyStream(settings.stream_url, shard_count=settings.shards, bytes_max=settings.stream_bytes_max)
    make_folders(settings.home / "archive")
    with one_at_a_time(Path(__file__).parent):
        compile_kernels()  # before shards are ours: their owner must not pause
        live_columns.compile_kernels()
    worker = Worker(settings, index=index, workers=workers, clock=EdgeClock(), stream=stream)
    keep_for_good()
    worker.run(stopping)
    stream.close()


if __name__ == "__main__":
    sys.exit(main())
