"""Whatever is killed, everything that was answered is there once, and `verify` says equal."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest

from tests.simulation.real_platform import Platform, Witness, check_equal, patched

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

VICTIMS = ("worker-0", "worker-1", "api", "postgres", "stream", "cache", "supervisor")


def settle_and_check(platform: Platform, witness: Witness) -> None:
    witness.close()
    check_equal(platform, witness.told)


def strike(platform: Platform, victim: str) -> None:
    platform.kill(victim)
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
@pytest.mark.parametrize("victim", VICTIMS)
def test_each_process_may_be_killed_under_load_at_random_moments(
    platform: Platform, victim: str, rng: random.Random
) -> None:
    witness = Witness(platform)
    witness.start()
    for _ in range(3):
        time.sleep(rng.uniform(1.5, 5.0))
        strike(platform, victim)
    time.sleep(4)
    settle_and_check(platform, witness)


@pytest.mark.long
@pytest.mark.requirement("B-08")
def test_a_hundred_random_kills_lose_nothing_and_quarantine_nothing(
    platform: Platform, rng: random.Random
) -> None:
    witness = Witness(platform)
    witness.start()
    for _ in range(100):
        time.sleep(rng.uniform(0.1, 1.5))
        platform.kill(rng.choice(("worker-0", "worker-1")))
        if rng.random() < 0.2:  # let it come to itself now and then, so that some kills strike it at work
            time.sleep(2.0)
    time.sleep(5)
    settle_and_check(platform, witness)
    assert platform.query("SELECT count(*) FROM skip") == [(0,)]


@pytest.mark.long
def test_a_worker_that_was_stopped_past_its_ownership_writes_nothing_when_it_wakes(
    platform: Platform,
) -> None:
    witness = Witness(platform)
    witness.start()
    time.sleep(3)
    platform.kill("worker-0", signal.SIGSTOP)
    time.sleep(7)  # ownership is 2 s, taking a stranger's shard 2 s more
    owners = dict(platform.query("SELECT shard, owner FROM shard"))
    platform.kill("worker-0", signal.SIGCONT)
    assert set(owners.values()) == {"worker-1"}
    time.sleep(6)
    settle_and_check(platform, witness)
    assert set(dict(platform.query("SELECT shard, owner FROM shard")).values()) == {"worker-0", "worker-1"}


@pytest.mark.long
def test_a_record_that_kills_its_worker_three_times_is_quarantined_and_the_shard_goes_on(
    tmp_path: Any, settings: dict[str, str]
) -> None:
    """The record is one that a build for tests dies of: see `poison` in the worker's environment."""
    poison = patched(tmp_path / "poison", "millrace.worker", POISON)
    platform = Platform(tmp_path / "home", {**settings, "PYTHONPATH": poison})
    platform.start()
    try:
        witness = Witness(platform)
        witness.start()
        time.sleep(2)
        witness.producer.send("poison", ["deadly"], *one_reading(witness))
        time.sleep(25)
        settle_and_check_but_poison(platform, witness)
        assert len(platform.query("SELECT * FROM skip")) == 1
        reasons = platform.query("SELECT reason FROM reject")
        assert len(reasons) == 1
    finally:
        platform.stop()


def one_reading(witness: Witness) -> Any:
    import numpy as np

    return np.array([witness.clock.now_us()]), np.array([6.66])


def settle_and_check_but_poison(platform: Platform, witness: Witness) -> None:
    witness.close()
    witness.told = {key for key in witness.told if key[0] != "deadly"}
    code, report = platform.verify("--full")
    assert code == 0, report
    archived = platform.archived()
    assert not [key for key in witness.told if key not in archived]
