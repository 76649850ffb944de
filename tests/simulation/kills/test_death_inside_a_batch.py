"""A worker that dies with a batch half done: whatever was handed on before, each reading is there once after it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.simulation.real_platform import DIE_ONCE, Witness, check_equal, started, until

LOOK_S = 60.0
pytestmark = [pytest.mark.long, pytest.mark.requirement("S-19"), pytest.mark.requirement("B-08")]

PLACES = {
    "in hand, not processed": """\
from millrace.process.shard import ShardProcess
step = ShardProcess.step
def step_and_die(self, *arguments):
    die_if_told()
    return step(self, *arguments)
ShardProcess.step = step_and_die
""",
    "processed, handed to one store of two": """\
from millrace.store_thread import StoreThread
offer = StoreThread.offer
def offer_and_die(self, output):
    offer(self, output)
    if len(output.readings) and self.sink.name == "postgres":
        die_if_told()
StoreThread.offer = offer_and_die
""",
    "told to whoever follows, stored nowhere": """\
from millrace.sinks.redis import RedisSink
write = RedisSink.write
def write_and_die(self, outputs):
    written = write(self, outputs)
    if written.accepted:
        die_if_told()
    return written
RedisSink.write = write_and_die
""",
    "committed, not archived": """\
from millrace.sinks.postgres.sink import PostgresSink
transact = PostgresSink._transact
def transact_and_die(self, *arguments):
    written = transact(self, *arguments)
    if written.accepted:
        die_if_told()
    return written
PostgresSink._transact = transact_and_die
""",
    "a segment written, not listed": """\
from millrace.sinks.archive.files import SegmentFiles
write = SegmentFiles.write
def write_and_die(self, *arguments):
    files = write(self, *arguments)
    if files:
        die_if_told()
    return files
SegmentFiles.write = write_and_die
""",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_batch_that_a_death_cut_in_two_is_there_once(
    tmp_path: Path, settings: dict[str, str], place: str
) -> None:
    trigger = tmp_path / "die"
    code = DIE_ONCE.format(trigger=str(trigger)) + PLACES[place]
    with started(tmp_path, settings, "millrace.worker", code) as platform:
        witness = Witness(platform, transport=platform.sender())
        witness.start()
        until(lambda: len(witness.told) > 500, LOOK_S, "a load")
        trigger.touch()
        until(lambda: not trigger.exists(), LOOK_S, "the death")
        at_death = len(witness.told)
        until(lambda: len(witness.told) > at_death, LOOK_S, "readings taken after it")
        time.sleep(3)
        witness.close()
        check_equal(platform, witness.told)
        assert platform.query("SELECT count(*) FROM skip") == [(0,)], "one death makes no record guilty"
        assert platform.query("SELECT count(*) FROM reject") == [(0,)]
