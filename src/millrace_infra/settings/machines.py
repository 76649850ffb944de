"""Machines that the stores run on: the families and sizes that Aurora PostgreSQL and ElastiCache offer.

An old or a misspelt one is found here and not half way through a deployment. A family that AWS adds is one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from millrace.errors import nearest
from millrace_infra.settings.section import Impossible

Sizes = tuple[str, ...]
_SIXTEEN: Final = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_INTEL: Final = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge")
_FIFTH: Final = ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge")

DATABASE: Final[Mapping[str, Sizes]] = {
    # ARM
    "t4g": ("medium", "large"),
    "r6g": _SIXTEEN,
    "r7g": _SIXTEEN,
    "r8g": (*_INTEL, "48xlarge"),
    "x2g": _SIXTEEN,
    # x86
    "t3": ("medium", "large"),
    "r5": _INTEL,
    "r6i": (*_INTEL, "32xlarge"),
    "r7i": (*_INTEL, "48xlarge"),
}
"""Source: Amazon Aurora User Guide, supported DB engines for DB instance classes. Left out are classes that want
more than their name: serverless a capacity range, r6gd and r6id a storage type."""

CACHE: Final[Mapping[str, Sizes]] = {
    # ARM
    "t4g": ("micro", "small", "medium"),
    "m6g": _SIXTEEN,
    "m7g": _SIXTEEN,
    "r6g": _SIXTEEN,
    "r7g": _SIXTEEN,
    "c7gn": _SIXTEEN,
    # x86
    "t3": ("micro", "small", "medium"),
    "m5": _FIFTH,
    "r5": _FIFTH,
}
"""Source: Amazon ElastiCache User Guide, supported node types, current generation. r6gd wants data tiering on."""


def check_machine(name: str, *, service: str, families: Mapping[str, Sizes]) -> str:
    """`db.r7g.large` itself, or Impossible with the nearest that is offered."""
    offered = [f"{service}.{family}.{size}" for family, sizes in families.items() for size in sizes]
    if name in offered:
        return name
    family = name.split(".")[1] if name.count(".") == 2 else ""
    if name.startswith(f"{service}.") and family in families:
        raise Impossible(name, f"{service}.{family} as one of {', '.join(families[family])}")
    raise Impossible(
        name, f"{service}.<family>.<size> of the families {', '.join(families)}{nearest(name, offered)}"
    )
