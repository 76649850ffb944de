"""Several records that kill their worker, one after the other: each is quarantined, and the platform goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.simulation.kills.test_kills import POISON, one_reading
from tests.simulation.real_platform import Witness, started, until

RECORDS = 3
QUARANTINED_S = 150.0


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
            witness.producer.send("poison", ["deadly"], *one_reading(witness))
            time.sleep(0.5)  # far past the linger: a record of its own
        until(
            lambda: platform.query("SELECT count(*) FROM skip") == [(RECORDS,)],
            QUARANTINED_S,
            "the quarantine",
        )
        witness.close()
        assert platform.verify()[0] == 0
        assert platform.query("SELECT DISTINCT reason FROM reject") == [("processing_failed",)]
