"""What a plan would change, attribute by attribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """`attribute` is a path, indexes left out: `default_action.forward.stickiness`; for a resource that would be made,
    replaced or destroyed it is the action in brackets.
    """

    address: str
    attribute: str

    @property
    def in_place(self) -> bool:
        return not self.attribute.startswith("(")


def differences(plan: Mapping[str, Any]) -> set[Difference]:
    """Every difference in a plan's JSON."""
    return {found for change in plan.get("resource_changes", ()) for found in _of(change)}


def _of(change: Mapping[str, Any]) -> Iterator[Difference]:
    actions, address = change["change"]["actions"], change["address"]
    if actions in (["no-op"], ["read"]):
        return
    if actions != ["update"]:
        yield Difference(address, f"({'/'.join(actions)})")
    before, after = change["change"]["before"] or {}, change["change"]["after"] or {}
    if "update" in actions or len(actions) == 2:
        for path in sorted(set(_changed(before, after, change["change"].get("after_unknown") or {}, ""))):
            yield Difference(address, path)


def _changed(before: Any, after: Any, unknown: Any, path: str) -> Iterator[str]:
    if unknown is True:
        yield path
    elif isinstance(before, dict) and isinstance(after, dict):
        inner = unknown if isinstance(unknown, dict) else {}
        for key in {*before, *after, *inner}:
            below = f"{path}.{key}" if path else key
            yield from _changed(before.get(key), after.get(key), inner.get(key), below)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        inner_list = unknown if isinstance(unknown, list) else [None] * len(after)
        for one, other, hidden in zip(before, after, inner_list, strict=False):
            yield from _changed(one, other, hidden, path)
    elif before != after:
        yield path
