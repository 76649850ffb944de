"""Newest values and figures over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from api_platform import Platform, Writer, give, tag

from tests.waiting import wait_for

PRESS = "acme/lyon/press-shop/line-2/press-07"


@pytest.mark.requirement("S-16")
def test_the_latest_value_is_the_newest_that_the_fast_path_said(platform: Platform, writer: Writer) -> None:
    now_us = writer.clock.now_us()
    writer.say([(0, now_us - 5, 1.5), (0, now_us, 2.5)], tags=[tag(0, f"{PRESS}/temp")])
    writer.say([(0, now_us - 9, 99.0)], late=1)
    wait_for(lambda: platform.live.rows == 3, "the follower has all")
    answer = platform.client.get(f"/v1/tags/{PRESS}/temp/latest").json()
    assert (answer["value"], answer["ts_us"], answer["quality"], answer["unit"]) == (2.5, now_us, 192, "degC")


def test_a_tag_of_two_sources_needs_its_source(platform: Platform, writer: Writer) -> None:
    now_us = writer.clock.now_us()
    writer.say([(0, now_us, 1.0)], tags=[tag(0, f"{PRESS}/temp", "gw-a")], shard=0)
    writer.say([(0, now_us, 2.0)], tags=[tag(0, f"{PRESS}/temp", "gw-b")], shard=1)
    wait_for(lambda: platform.live.rows == 2, "the follower has all")
    answer = platform.client.get(f"/v1/tags/{PRESS}/temp/latest")
    assert (answer.status_code, answer.json()["sources"]) == (409, ["gw-a", "gw-b"])
    one = platform.client.get(f"/v1/tags/{PRESS}/temp/latest", params={"source": "gw-b"}).json()
    assert one["value"] == 2.0


def test_a_tag_that_the_model_moved_is_its_new_sources(
    platform: Platform, writer: Writer, postgres: str
) -> None:
    """Whatever the old pair still says of itself: where both lie in one shard, the log calls both modelled."""
    now_us = writer.clock.now_us()
    pairs = [
        tag(0, f"{PRESS}/state", "gw-a"),
        tag(1, f"{PRESS}/state", "gw-b"),
        tag(2, f"{PRESS}/load", "gw-a"),
    ]
    writer.say([(0, now_us, 1.0), (1, now_us, 2.0), (2, now_us, 3.0)], tags=pairs)
    wait_for(lambda: platform.live.rows == 3, "the follower has all")
    assert platform.client.get(f"/v1/tags/{PRESS}/state/latest").status_code == 409
    give(postgres, f"{PRESS}/state", "gw-b")
    one = platform.client.get(f"/v1/tags/{PRESS}/state/latest").json()
    assert (one["source"], one["value"]) == ("gw-b", 2.0)
    past = platform.client.get(f"/v1/tags/{PRESS}/state/latest", params={"source": "gw-a"}).json()
    assert past["value"] == 1.0
    whole = platform.client.get(f"/v1/equipment/{PRESS}/live").json()
    assert [(row["tag"].rsplit("/")[-1], row["source"]) for row in whole["tags"]] == [
        ("load", "gw-a"),
        ("state", "gw-b"),
    ]
    assert whole["state"] == 2.0


def test_without_postgresql_the_one_modelled_pair_answers_for_its_path(
    platform: Platform, writer: Writer
) -> None:
    platform.needs.store = None
    now_us = writer.clock.now_us()
    old = replace(tag(0, f"{PRESS}/temp", "gw-a"), modelled=False)
    writer.say([(0, now_us, 1.0)], tags=[old], shard=0)
    writer.say([(0, now_us, 2.0)], tags=[tag(0, f"{PRESS}/temp", "gw-b")], shard=1)
    wait_for(lambda: platform.live.rows == 2, "the follower has all")
    assert platform.client.get(f"/v1/tags/{PRESS}/temp/latest").json()["value"] == 2.0
    assert len(platform.client.get(f"/v1/equipment/{PRESS}/live").json()["tags"]) == 1


def test_an_equipment_shows_all_its_tags_and_nothing_of_its_neighbour(
    platform: Platform, writer: Writer
) -> None:
    now_us = writer.clock.now_us()
    tags = [tag(0, f"{PRESS}/temp"), tag(1, f"{PRESS}/load"), tag(2, f"{PRESS}0/temp")]
    writer.say([(0, now_us, 1.0), (1, now_us, 2.0), (2, now_us, 3.0)], tags=tags)
    wait_for(lambda: platform.live.rows == 3, "the follower has all")
    answer = platform.client.get(f"/v1/equipment/{PRESS}/live").json()
    assert {row["tag"].rsplit("/")[-1]: row["value"] for row in answer["tags"]} == {"load": 2.0, "temp": 1.0}
    assert platform.client.get("/v1/equipment/acme/nowhere/live").status_code == 404


def test_stats_have_every_figure_of_the_contract(platform: Platform, writer: Writer) -> None:
    figures = platform.client.get("/v1/stats").json()
    for name in ("accepted", "rejected", "duplicate", "processed", "stored", "archived", "lag_ms", "rate"):
        assert name in figures
    assert set(figures["latency_ms"]) == {"visible", "durable"}
    assert figures["disk"]["max_bytes"] == 100
