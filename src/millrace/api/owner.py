"""Whose a path is where several sources have said it: the asset model's word, else a question back.

A tag that the model moves to another source is another tag to the stores (law 3), so the old pair of path and
source stands beside the new one for good. A question by path is for the one that the model names; the others
are reached by `source`. Several that nobody modelled are as good as each other: 409 names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from millrace.api.dependencies import Dependencies
from millrace.api.live_view import LatestValue, TagRef
from millrace.api.problems import Problem
from millrace.batch import TagInfo
from millrace.errors import StoreUnavailable

Found = tuple[TagRef, TagInfo]

OWNERS = "SELECT path, source FROM asset_tag WHERE path = ANY(%s)"


def find_one(needs: Dependencies, path: str, source: str) -> Found | None:
    """The live tag of that path; None when none is live. It asks PostgreSQL only where several are."""
    found = needs.live.find(path, source)
    if len(found) > 1:
        modelled = [tag.source for _, tag in found if tag.modelled]
        owner = owners(needs, [path], dict.fromkeys([path], modelled[0]) if len(modelled) == 1 else {})
        found = [one for one in found if one[1].source == owner.get(path)] or found
    if len(found) > 1:
        raise ambiguous(path, [tag.source for _, tag in found])
    return found[0] if found else None


def owners(needs: Dependencies, paths: Sequence[str], without_store: dict[str, str]) -> dict[str, str]:
    """The source that the model in force gives each path to; `without_store`: what the live log says of it."""
    if needs.store is None:
        return without_store
    try:
        return {row["path"]: row["source"] for row in needs.store.rows(OWNERS, [list(paths)])}
    except StoreUnavailable:  # newest values are answered out of memory, with PostgreSQL or without
        return without_store


def without_the_moved(needs: Dependencies, values: list[LatestValue]) -> list[LatestValue]:
    """Newest values without those of a source that the model took the tag away from."""
    said = Counter(value.tag.path for value in values)
    several = [path for path, count in said.items() if count > 1]
    if not several:
        return values
    modelled = {value.tag.path: value.tag.source for value in values if value.tag.modelled}
    owner = owners(needs, several, modelled)
    there = {(value.tag.path, value.tag.source) for value in values}
    return [
        value
        for value in values
        if said[value.tag.path] == 1
        or owner.get(value.tag.path) in (None, value.tag.source)
        or (value.tag.path, owner[value.tag.path]) not in there
    ]


def ambiguous(path: str, sources: list[str]) -> Problem:
    named = sorted(set(sources))
    return Problem(
        409,
        "ambiguous_tag",
        f"{path} is said by {len(named)} sources: {', '.join(named)}",
        field="source",
        found=path,
        wanted="?source= with one of them",
        what_to_do="add ?source=, or give the tag to one source in the asset model",
        more={"sources": named},
    )
