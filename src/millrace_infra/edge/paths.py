"""The service's paths as API Gateway takes them: a variable is one segment, so a path in a path is spelled out.

`/v1/tags/{path}/latest` becomes `/v1/tags/{path1}/latest`, `/v1/tags/{path1}/{path2}/latest` and so on. The
other two ways do not hold: a greedy variable may stand only at the end, and what becomes of an escaped slash
between API Gateway and the service is documented nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from millrace_infra.edge.refusal import CannotExpress

RESOURCES_MAX: Final = 300
"""Resources of one REST API: each prefix of a path is one. Source: Amazon API Gateway quotas."""
_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._:,-]+|\{\w+\}")


@dataclass(frozen=True)
class Route:
    """One path of the definition; `number` tells it from others that were spelled out of the same path."""

    path: str
    number: int = 0
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variable of the service -> the variables that stand for it."""

    @property
    def suffix(self) -> str:
        return f"_{self.number}" if self.number else ""


def spelled(path: str, slashed: Mapping[str, int]) -> list[Route]:
    """The routes of one path. `slashed`: variables that hold slashes -> segments at most."""
    named = [name for name in _VARIABLE.findall(path) if name in slashed]
    if len(named) > 1:
        raise CannotExpress(path, got=named, want="one variable with slashes in it")
    if not named:
        return [Route(path, variables={name: (name,) for name in _VARIABLE.findall(path)})]
    name = named[0]
    return [_route(path, name, number) for number in range(1, slashed[name] + 1)]


def _route(path: str, name: str, number: int) -> Route:
    parts = tuple(f"{name}{at}" for at in range(1, number + 1))
    spelled_out = "/".join(f"{{{part}}}" for part in parts)
    variables = {other: (other,) for other in _VARIABLE.findall(path)} | {name: parts}
    return Route(path.replace(f"{{{name}}}", spelled_out), number, variables)


def check(paths: Iterable[str]) -> None:
    """Segments that API Gateway takes, one name for a variable at each place, and not too many resources."""
    variable_at: dict[tuple[str, ...], str] = {}
    resources: set[tuple[str, ...]] = set()
    for path in paths:
        above: tuple[str, ...] = ()
        for segment in path.strip("/").split("/"):
            if not _SEGMENT.fullmatch(segment):
                raise CannotExpress(path, got=segment, want="letters, digits and ._:,- or one variable")
            if segment.startswith("{") and variable_at.setdefault(above, segment) != segment:
                raise CannotExpress(path, got=segment, want=f"{variable_at[above]}, as in other paths here")
            above = (*above, segment)
            resources.add(above)
    if len(resources) > RESOURCES_MAX:
        raise CannotExpress("paths", got=f"{len(resources)} resources", want=f"{RESOURCES_MAX} at most")
