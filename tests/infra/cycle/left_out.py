"""What of an environment is not applied to the emulator, exactly: settings that are taken out, and what they make.

docs/emulators.md names each; a test holds the list against what is applied, so that nothing is taken out unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

EXCHANGED: Final = ("edge.certificate_arn",)
"""Settings that name what exists, and name the emulator's own instead."""


class LeftOut(NamedTuple):
    setting: str
    """Path of the setting that is taken out."""
    addresses: tuple[str, ...]
    """Patterns of what is not made without it."""
    reason: str

    def covers(self, address: str) -> bool:
        return any(fnmatchcase(address, pattern) for pattern in self.addresses)


LEFT_OUT: Final[tuple[LeftOut, ...]] = (
    LeftOut(
        "network.transit_gateway_id",
        ("aws_ec2_transit_gateway_vpc_attachment.network_transit_*", "aws_route.network_transit_people-*"),
        "the emulator forgets a deleted attachment at once, and the provider waits to see it deleted",
    ),
)


def without(content: dict[str, Any]) -> dict[str, Any]:
    """The settings of an environment without what is left out."""
    for row in LEFT_OUT:
        *parents, last = row.setting.split(".")
        place = content
        for parent in parents:
            place = place.get(parent, {})
        place.pop(last, None)
    return content


def changed(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Paths of the settings that are not as they were."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from changed(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif before != after:
        yield path


def unexplained(program: Iterable[str], managed: Iterable[str]) -> list[str]:
    """Addresses of the program that were not applied, and that no row covers."""
    return sorted(one for one in set(program) - set(managed) if not any(row.covers(one) for row in LEFT_OUT))
