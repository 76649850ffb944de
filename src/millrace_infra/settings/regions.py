"""Which regions there are, and how their zones are called: as the SDK knows them, without asking AWS."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from millrace.errors import nearest
from millrace_infra.settings.section import Impossible

PARTITION: Final = "aws"
"""China's and the government's regions are accounts, names and ARNs of another world: the program writes none."""
_COMPASS: Final = re.compile("north|south|east|west|central")


@cache
def regions() -> tuple[str, ...]:
    from botocore.session import get_session  # type: ignore[import-untyped, unused-ignore]

    return tuple(sorted(map(str, get_session().get_available_regions("ec2", PARTITION))))


def check_region(region: str) -> str:
    """The region itself, or Impossible with the nearest there is."""
    if region not in regions():
        raise Impossible(region, f"an AWS region such as eu-central-1{nearest(region, regions())}")
    return region


def zone_prefix(region: str) -> str:
    """What the ids of a region's zones begin with: `euc1` of eu-central-1, `apse2` of ap-southeast-2."""
    area, direction, number = region.split("-")
    return area + "".join(word[0] for word in _COMPASS.findall(direction)) + number


def check_zones(zone_ids: tuple[str, ...], region: str) -> None:
    """Impossible unless each is a zone of the region, and named once. A local zone is none: no store runs there."""
    prefix = zone_prefix(region)
    for zone in zone_ids:
        if not re.fullmatch(rf"{prefix}-az\d+", zone):
            raise Impossible(zone, f"zones of {region}, such as {prefix}-az1", key="zone_ids")
    if len(set(zone_ids)) < len(zone_ids):
        raise Impossible(", ".join(zone_ids), "each zone once: one twice is no second place", key="zone_ids")
