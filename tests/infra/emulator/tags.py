"""Tags of what the additions keep: ARN -> key -> value, in the list form that most services speak."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

_TAGS: defaultdict[str, dict[str, str]] = defaultdict(dict)


def put(arn: str, tags: Iterable[Mapping[str, str]] | None) -> None:
    _TAGS[arn] |= {tag["Key"]: tag.get("Value", "") for tag in tags or ()}


def take(arn: str, keys: Iterable[str]) -> None:
    for key in keys:
        _TAGS[arn].pop(key, None)


def of(arn: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(_TAGS.get(arn, {}).items())]


def forget(arn: str) -> None:
    _TAGS.pop(arn, None)
