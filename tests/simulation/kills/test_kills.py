"""Whatever is killed, everything that was answered is there once, and `verify` says equal."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import numpy as np
import pytest

from millrace.stream.contract import shard_of
from tests.simulation.real_platform import BACK_S, Platform, Witness, check_equal, started, until

POISON = """\
import os
import millrace.process.columns as columns
number = columns._number
def deadly(state, names):
    if 'poison' in names:
        os._exit(139)
    return number(state, names)
columns._number = deadly
"""
"""Makes a worker die, as a crash in native code would, of source `poison`."""

STRAIGHT = ("worker-0", "worker-1")
"""Whoever is behind the stream is killed with a witness that appends to it; all others also carry its requests."""
BY_HTTP = ("api", "postgres", "stream", "cache", "supervisor")
WORKERS = ("worker-0", "worker-1")


def settle_and_check(platform: Platform, witness: Witness) -> None:
    witness.close()
    check_equal(platform, witness.told)


def strike(platform: Platform, victim: str) -> None:
    """Kill it, and again as soon as it is there; a dead one does not count."""
    until(lambda: platform.kill(victim), BACK_S, f"{victim} to kill")
    if victim == "supervisor":
        assert platform.process is not None
        platform.process.wait(10)
        platform.start()


@pytest.mark.requirement("S-19")
@pytest.mark.requirement("B-08")
def test_a_killed_worker_loses_nothing_and_doubles_nothing(platform: Platform) -> None:
    witness = Witness(platform)
    witness.start()
    time.sleep(4)
    assert platform.kill("worker-0")
    time.sleep(6)
    settle_and_check(platform, witness)


@pytest.mark.long
@pytest.mark.requirement("B-08")
@pytest.mark.parametrize(
    ("victim", "by_http"), [*((name, False) for name in STRAIGHT), *((name, True) for name in BY_HTTP)]
)
def test_each_process_may_be_killed_under_load_at_random_moments(
    platform: Platform, victim: str, by_http: bool, rng: random.Random
) -> None:
    witness = Witness(platform, transport=platform.sender() if by_http else None)
    witness.start()
    for _ in range(3):
        told = len(witness.told)
        until(lambda told=told: len(witness.told) > told, BACK_S, "readings taken between two kills")
        time.sleep(rng.uniform(0.5, 4.0))
        strike(platform, victim)
    time.sleep(4)
    settle_and_check(platform, witness)


@pytest.mark.long
@pytest.mark.requirement("B-08")
def test_a_hundred_random_kills_lose_nothing_and_quarantine_nothing(
    platform: Platform, rng: random.Random
) -> None:
    """The witness sends through the door; one in ten kills is the door's own."""
    witness = Witness(platform, transport=platform.sender())
    witness.start()
    for _ in range(100):
        time.sleep(rng.uniform(0.1, 1.2))
        strike(platform, "api" if rng.random() < 0.1 else rng.choice(WORKERS))
        if rng.random() < 0.2:  # let it come to itself now and then, so that some kills strike it at work
            time.sleep(2.0)
    assert len(platform.killed) == 100
    time.sleep(5)
    settle_and_check(platform, witness)
    assert platform.query("SELECT count(*) FROM skip") == [(0,)]
    assert platform.query("SELECT count(*) FROM reject") == [(0,)]


@pytest.mark.long
def test_a_worker_that_was_stopped_past_its_ownership_writes_nothing_when_it_wakes(
    platform: Platform,
) -> None:
    witness = Witness(platform)
    witness.start()
    time.sleep(3)
    assert owners(platform) == {"worker-0", "worker-1"}
    assert platform.kill("worker-0", signal.SIGSTOP)
    until(lambda: owners(platform) == {"worker-1"}, BACK_S, "the other one takes its shards")
    time.sleep(3)  # some of its readings lie in the stream, and what it held is written by another
    assert platform.kill("worker-0", signal.SIGCONT)
    time.sleep(6)
    settle_and_check(platform, witness)
    until(lambda: owners(platform) == {"worker-0", "worker-1"}, BACK_S, "its shards are its own again")


def owners(platform: Platform) -> set[str]:
    """Who owns a shard."""
    return {owner for (owner,) in platform.query("SELECT owner FROM shard")}


@pytest.mark.long
def test_a_record_that_kills_its_worker_three_times_is_quarantined_and_the_shard_goes_on(
    tmp_path: Any, settings: dict[str, str]
) -> None:
    """The record is one that a build for tests dies of: see `poison` in the worker's environment."""
    with started(tmp_path, settings, "millrace.worker", POISON) as platform:
        witness = Witness(platform, sources=12)
        witness.start()
        time.sleep(2)
        witness.producer.send("poison", ["deadly"], *one_reading(witness))
        until(lambda: bool(platform.query("SELECT * FROM skip")), BACK_S, "the record's quarantine")
        skipped_us = witness.clock.now_us()
        assert_it_is_seen(platform)
        time.sleep(3)
        settle_and_check_but_poison(platform, witness)
        assert len(platform.query("SELECT * FROM skip")) == 1
        assert platform.query("SELECT reason FROM reject") == [("processing_failed",)]
        assert later_of_the_same_shard(witness, skipped_us)


def assert_it_is_seen(platform: Platform) -> None:
    """Loudly: in the quarantine over HTTP, and counted by its reason."""
    counted = 'process_readings_rejected_total{reason="processing_failed"} 1.0'
    with platform.client() as client:
        until(lambda: counted in client.get("/metrics").text, BACK_S, "the metric")
        until(lambda: bool(client.get("/v1/rejects").json()["rejects"]), BACK_S, "the reject")
        (reject,) = client.get("/v1/rejects").json()["rejects"]
        assert reject["reason"] == "processing_failed"
        only = client.get("/v1/rejects", params={"reason": "processing_failed"}).json()["rejects"]
        assert [row["id"] for row in only] == [reject["id"]]


def later_of_the_same_shard(witness: Witness, after_us: int) -> set[tuple[str, int]]:
    """What was taken of the poisoned shard once the record was skipped; that it is stored is checked with all."""
    shards = int(witness.platform.endpoints["shards"])
    mates = [s for s in witness.sources if shard_of(s, shards) == shard_of("poison", shards)]
    return {key for key in witness.told if key[1] > after_us and key[0].split("/")[3] in mates}


def one_reading(witness: Witness) -> Any:
    return np.array([witness.clock.now_us()]), np.array([6.66])


def settle_and_check_but_poison(platform: Platform, witness: Witness) -> None:
    witness.close()
    witness.told = {key for key in witness.told if key[0] != "deadly"}
    code, report = platform.verify("--full")
    assert code == 0, report
    archived = platform.archived()
    assert not [key for key in witness.told if key not in archived]
