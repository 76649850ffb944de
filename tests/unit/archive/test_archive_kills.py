"""Whatever is killed, full or away, and whenever: the archive ends with each reading once."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from archive_making import T0_US, MemoryManifest, output, reading_rows, reject, tag_info
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import Output
from millrace.clock import HandClock
from millrace.durable import Disk
from millrace.errors import OwnershipLost
from millrace.schema.reject_files import read_rejects
from millrace.schema.segments import FooterCache, read_tag
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.contract import Ownership

TAGS = [tag_info(i, source=f"gw-{i % 2}") for i in range(4)]
OUTPUTS = 30


class MoodyDisk(Disk):
    full = False

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, data)


def outputs() -> list[Output]:
    """A shard's flow: every reading has its own value, every third output a reject, some have nothing."""
    rng = np.random.default_rng(13)
    flow = []
    for position in range(1, OUTPUTS + 1):
        n = int(rng.integers(0, 400))
        slot = rng.integers(0, 4, n)
        ts_us = T0_US + position * 1_000 + rng.integers(-5_000, 1_000, n)
        rows = reading_rows(TAGS, slot, ts_us, position * 1_000.0 + np.arange(n))
        rejects = [reject(position)] if position % 3 == 0 else []
        mark = position if position % 7 == 0 else 0
        flow.append(output(position, rows, rejects=rejects, mark=mark))
    return flow


class World:
    """A worker's part: it replays from *archived* after a death and offers again what it is asked to."""

    def __init__(self, root: Path) -> None:
        self.root, self.manifest, self.clock, self.disk = root, MemoryManifest(), HandClock(), MoodyDisk()
        self.flow = outputs()
        self.epoch = 0
        self.start()

    def start(self) -> None:
        """A new owner, with a higher epoch; the one before is simply gone."""
        self.epoch += 1
        self.manifest.epoch[0] = self.epoch
        away, self.manifest.away = self.manifest.away, False
        rules = Settings(segment_rows_max=1_000, segment_age_s=20)
        self.sink = ArchiveSink(self.root, self.manifest, rules, self.clock, disk=self.disk)
        self.next = self.sink.open_shard(Ownership(0, self.epoch))
        self.sink.announce(0, TAGS)
        self.manifest.away = away

    def write(self, count: int) -> None:
        offered = self.flow[self.next : self.next + count]
        answer = self.sink.write(offered)
        self.next += len(offered) - len(answer.retry)

    def act(self, action: tuple[str, int]) -> None:
        name, number = action
        if name == "write":
            self.write(number)
        elif name == "wait":
            self.clock.sleep(number)
            self.sink.write([])
        elif name == "kill":
            self.start()
        elif name == "full":
            self.disk.full = bool(number % 2)
        elif name == "away":
            self.manifest.away = bool(number % 2)
        elif name == "lose answer":
            self.manifest.answer_lost = True
        elif name == "paused owner wakes":
            old, was = self.sink, self.next
            self.start()
            with pytest.raises(OwnershipLost):
                old.write([output(10**6, self.flow[min(was, OUTPUTS - 1)].readings, mark=1)])

    def finish(self) -> None:
        self.disk.full = self.manifest.away = self.manifest.answer_lost = False
        for _ in range(3 * OUTPUTS):
            self.clock.sleep(25)
            self.write(OUTPUTS)
        while self.sink.maintain():
            """Compact what there is."""


actions = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 8)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.sampled_from(["kill", "full", "away", "lose answer"]), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(actions)
@settings(max_examples=30)
@pytest.mark.requirement("S-19")
@pytest.mark.requirement("B-08")
def test_each_reading_is_archived_once_whatever_happens_on_the_way(tmp_path_factory, plan) -> None:
    world = World(tmp_path_factory.mktemp("archive"))
    for action in plan:
        world.act(action)
    world.finish()
    wanted, found = set(), []
    for out in world.flow:
        wanted |= {(int(r["slot"]), int(r["ts_us"]), float(r["value"])) for r in out.readings}
    listed = world.manifest.listed()
    files = [world.root / s.file for s in listed if s.kind == "readings"]
    for slot, tag in enumerate(TAGS):
        ts_us, value, _ = read_tag(files, tag.path, tag.source, 0, 2**62, footers=FooterCache())
        assert np.all(np.diff(ts_us) >= 0)
        found += [(slot, *row) for row in zip(ts_us.tolist(), value.tolist(), strict=True)]
    assert len(found) == len(wanted)
    assert set(found) == wanted
    kept = [row for s in listed if s.kind == "quarantine" for row in read_rejects(world.root / s.file)]
    assert [int(row["position"]) for row in kept] == list(range(3, OUTPUTS + 1, 3))
    on_disk = {p.relative_to(world.root).as_posix() for p in world.root.rglob("*") if p.is_file()}
    assert on_disk == set(world.manifest.rows)


@pytest.mark.requirement("S-19")
def test_a_paused_owner_that_wakes_lists_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(5)
    world.act(("paused owner wakes", 0))
    world.finish()
    assert world.manifest.archived[0] == OUTPUTS
