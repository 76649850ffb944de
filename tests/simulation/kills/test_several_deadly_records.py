"""Several records that kill their worker, one after the other: each is quarantined, and the platform goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.kills.test_kills import POISON, one_reading
from tests.simulation.real_platform import Witness, started, until

RECORDS = 3
TAKEN_S = 30.0
QUARANTINED_S = 300.0
"""Each costs the worker four lives, and each life begins with a start of Python."""


@pytest.mark.long
@pytest.mark.requirement("S-19")
def test_each_of_several_deadly_records_is_quarantined_and_the_platform_goes_on(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    """Together they cost the worker more lives within a minute than one that nothing helps is given."""
    with started(tmp_path, settings, "millrace.worker", POISON) as platform:
        witness = Witness(platform)
        witness.start()
        for _ in range(RECORDS):
            ts_us, value = one_reading(witness)
            witness.producer.send("poison", ["deadly"], ts_us, value)
            told = ("deadly", int(ts_us[0]))
            until(lambda told=told: told in witness.told, TAKEN_S, "a record of its own in the stream")
        until(
            lambda: platform.query("SELECT count(*) FROM skip") == [(RECORDS,)],
            QUARANTINED_S,
            "the quarantine",
        )
        witness.close()
        assert platform.verify()[0] == 0
        assert platform.query("SELECT DISTINCT reason FROM reject") == [("processing_failed",)]
