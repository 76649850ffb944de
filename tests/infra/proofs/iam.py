"""As much of IAM's decision as the CI's policies use: patterns, conditions on what a call says of itself, refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Ask:
    """One call: what is done to what, and what the call says of itself (condition key -> value)."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict, hash=False)


def allowed(ask: Ask, *policies: Iterable[Mapping[str, Any]]) -> bool:
    """Each policy (a role's own, its boundary) allows it, and none refuses."""
    return all(_decide(ask, list(statements)) for statements in policies)


def _decide(ask: Ask, statements: list[Mapping[str, Any]]) -> bool:
    hits = [one for one in statements if _covers(one, ask)]
    return bool(hits) and all(one["Effect"] == "Allow" for one in hits)


def _covers(statement: Mapping[str, Any], ask: Ask) -> bool:
    # IAM looks at no case in an action, and * in a resource crosses every separator
    return (
        any(fnmatchcase(ask.action.lower(), one.lower()) for one in _listed(statement["Action"]))
        and any(fnmatchcase(ask.resource, one) for one in _listed(statement["Resource"]))
        and all(_holds(*one, ask) for one in statement.get("Condition", {}).items())
    )


def _holds(test: str, values: Mapping[str, Any], ask: Ask) -> bool:
    assert test in ("StringEquals", "ForAnyValue:StringEquals"), f"{test} is not understood here"
    return all(ask.context.get(key) in _listed(wanted) for key, wanted in values.items())


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
