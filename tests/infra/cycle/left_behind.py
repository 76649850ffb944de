"""What is still there after `destroy`: first what AWS keeps too, then what only the emulator never removes."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, NamedTuple


class LeftBehind(NamedTuple):
    noun: str
    name: str
    """Pattern; `*` is anything."""
    reason: str

    def covers(self, found: tuple[str, str]) -> bool:
        return found[0] == self.noun and fnmatchcase(found[1], self.name)


LEFT_BEHIND: Final[tuple[LeftBehind, ...]] = (
    LeftBehind("kms key", "*", "AWS too: pending deletion for seven days, the least that KMS allows"),
    LeftBehind("network acl", "acl-*", "a VPC's default network ACL goes with its VPC; moto keeps it"),
    LeftBehind("interface", "eni-*", "a NAT gateway's and a task's interfaces go with them; moto keeps them"),
    LeftBehind("database parameters", "default.*", "AWS's own group, which moto makes when it is first used"),
    LeftBehind(
        "cluster", "*:cluster/millrace-cluster-*", "AWS too: inactive for a while; moto keeps it for good"
    ),
)


def unexplained(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(one for one in found if not any(row.covers(one) for row in LEFT_BEHIND))


def outdated(found: Iterable[tuple[str, str]]) -> list[LeftBehind]:
    seen = list(found)
    return [row for row in LEFT_BEHIND if not any(row.covers(one) for one in seen)]
