"""`python -m millrace.devices`: the simulated plant of a running platform. A composition root.

It learns where the platform is from the environment that the supervisor gives it, or from
`<home>/run/endpoints.json`; joins the plant to the asset model in force; then sends readings until it is told to
stop.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from millrace import tracing
from millrace.assets.publish import put_in_force
from millrace.batch import ValueKind
from millrace.clock import Clock, EdgeClock
from millrace.devices.commands import Inbox, begin
from millrace.devices.faults import Faults
from millrace.devices.plant import Plant, SourceReadings
from millrace.devices.scenarios import Scenario, load_scenario
from millrace.devices.simulator import Send, Simulator
from millrace.errors import DataFolderError, MillraceError, Unavailable
from millrace.ingest.delivery import StreamTransport
from millrace.ingest.producer import Producer
from millrace.local.ready import shards_owned
from millrace.settings import Settings, load
from millrace.stream.valkey import ValkeyStream

log = structlog.get_logger("millrace.devices")

PUBLISH_TRIES: Final = 20
CLOSE_S: Final = 4.0
WORKERS_WAIT_S: Final = 60.0
WORKERS_LOOK_S: Final = 0.2


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 after a stop, 2 for a setting or data folder that is wrong, 1 otherwise."""
    arguments = _arguments(argv)
    try:
        settings = attached(load(os.environ))
        with sole_plant(settings.home):
            return run(settings, arguments)
    except MillraceError as error:
        print(f"millrace simulator: {error}", file=sys.stderr)
        return error.exit_code


@contextmanager
def sole_plant(home: Path) -> Iterator[None]:
    """One plant a platform: two would say different things of the same tags, and take each other's orders.

    A lock that ends with its process, so that a killed plant hinders no other.
    """
    file = home / "run" / "simulator.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataFolderError(
                f"A plant runs on {home} already: `millrace simulate --fault` breaks its machines. To run another, "
                "stop that one first (`millrace up` without --simulate starts none)."
            ) from None
        yield


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Simulate until SIGTERM or SIGINT, or until the parent is gone."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: stopped.append(signum))
    tracing.set_up_traces(service="simulator", environ=os.environ)
    scenario = load_scenario(arguments.scenario) if arguments.scenario else Scenario(tags=arguments.tags)
    clock = EdgeClock()
    plant = scenario.plant(start_us=clock.now_us())
    stream = ValkeyStream(
        settings.stream_url, shard_count=settings.shards, bytes_max=settings.stream_bytes_max
    )
    if not arguments.no_model:
        _publish(settings, stream, plant)
    transport = StreamTransport.guarded(stream, settings, clock)
    producer = Producer(transport, shard_count=settings.shards, clock=clock, trace_ratio=settings.trace_ratio)
    producer.start()
    parent = os.getppid()

    def stopping() -> bool:
        return bool(stopped) or os.getppid() != parent

    await_workers(lambda: shards_owned(settings.postgres_url) >= settings.shards, stopping, clock)
    faults = Faults(plant, sent_from_us=clock.now_us())
    inbox = Inbox(settings.home, faults)
    labels = [begin(faults, order, clock.now_us()) for order in scenario.orders()]
    if arguments.labels:
        arguments.labels.write_bytes(scenario.labels(labels))
    log.info(
        "plant.started",
        tags=len(plant.tags),
        sources=len(plant.source_names),
        readings_per_s=round(plant.rate),
    )
    simulator = Simulator(plant, faults, sender(plant, producer), clock)
    simulator.run(stopping, lambda now_us: _take_orders(inbox, now_us))
    unsent = producer.close(CLOSE_S)
    log.info("plant.stopped", sent=simulator.sent.readings, refused=simulator.sent.refused, unsent=unsent)
    stream.close()
    return 0


def await_workers(all_owned: Callable[[], bool], stopping: Callable[[], bool], clock: Clock) -> None:
    """A plant that starts with the platform waits for its workers, which compile their kernels at the first start: the
    first figures that anybody sees would be how long those readings had waited. Bounded: a plant runs without them."""
    until_s = clock.monotonic_s() + WORKERS_WAIT_S
    while not stopping() and not all_owned():
        if clock.monotonic_s() > until_s:
            log.warning(
                "plant.without_workers", waited_s=WORKERS_WAIT_S, want="every shard owned by a worker"
            )
            return
        clock.sleep(WORKERS_LOOK_S)


def _take_orders(inbox: Inbox, now_us: int) -> None:
    carried_out = inbox.poll(now_us)
    if carried_out:
        log.info("plant.orders", count=carried_out)


def sender(plant: Plant, producer: Producer) -> Send:
    """The producer as the simulator wants it: tags are numbered once, so that a reading costs no look-up."""
    firsts = dict(zip(plant.source_names, plant.first_tags.tolist(), strict=True))
    for tag in plant.model.tags:
        # Placed in the plant's order below; states are numbered as the model has them.
        for state in tag.states:
            producer.dictionary(tag.source).state(state)
    kinds = {tag.path: ValueKind[tag.kind.upper()] for tag in plant.model.tags}
    for number, path in enumerate(plant.tags):
        producer.dictionary(plant.source_names[plant.source_of_tag[number]]).index(path, kinds[path])

    def send(readings: SourceReadings) -> int:
        first = firsts[readings.source]
        return producer.send(
            readings.source, readings.tag - first, readings.ts_us, readings.value, readings.quality
        )

    return send


def attached(settings: Settings) -> Settings:
    """Settings with the running platform's servers; DataFolderError when there is none."""
    if settings.stream_url and settings.postgres_url:
        return settings
    path = settings.home / "run" / "endpoints.json"
    try:
        found = json.loads(path.read_text())
        return settings.model_copy(
            update={key: found[key] for key in ("stream_url", "postgres_url", "shards")}
        )
    except (OSError, ValueError, KeyError):
        raise DataFolderError(
            f"No Millrace runs on {settings.home.absolute()}. Start one with `millrace up` or `make run`."
        ) from None


def _publish(settings: Settings, stream: ValkeyStream, plant: Plant) -> None:
    """Have the plant's model in force before its readings come; bounded tries, then without it."""
    for attempt in range(PUBLISH_TRIES):
        try:
            change = put_in_force(settings.postgres_url, stream, plant.joined_to, made_by="simulator")
            log.info(
                "plant.model_published", number=change.number, tags=len(plant.tags), gone=len(change.gone)
            )
            return
        except Unavailable as error:
            log.warning("plant.model_not_yet", error=str(error), attempt=attempt + 1)
            time.sleep(0.5)
    log.error("plant.without_model", want="`millrace` with its stores up; readings go on, unmodelled")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m millrace.devices", description=__doc__)
    parser.add_argument("--tags", type=int, default=10_000, help="tags of the plant (10000)")
    parser.add_argument("--scenario", type=Path, help="YAML scenario: seed, size and faults to come")
    parser.add_argument("--labels", type=Path, help="write the faults' labels here, as JSON")
    parser.add_argument("--no-model", action="store_true", help="leave the plant out of the asset model")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
