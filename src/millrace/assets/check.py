"""What a tag's model must be, whatever file it came from. A rule says what was found, wanted, to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Final

from millrace.assets.duration import shown
from millrace.assets.tag import TagModel
from millrace.batch import SOURCE_LENGTH_MAX, TAG_LENGTH_MAX
from millrace.errors import nearest

PATH_LEVELS: Final = ("enterprise", "site", "area", "line", "equipment", "tag")
STATES_MAX: Final = 1_024
PERIOD_MIN_US: Final = 100  # 10 kHz: beyond it a vibration recorder sends spectra, not readings

_LIMITS: Final = ("range_low", "low_low", "low", "high", "high_high", "range_high")


def check_tag(tag: TagModel, detectors: Collection[str] | None = None) -> Iterator[str]:
    """Everything wrong with one tag; `detectors`: the names that exist, None: the caller does not know."""
    yield from check_path(tag.path)
    yield from _check_source(tag)
    yield from _check_limits(tag)
    yield from _check_times(tag)
    yield from _check_kind(tag)
    if tag.deadband < 0:
        yield f"deadband {tag.deadband:g}, wanted 0 or more"
    for name in tag.detectors or ():
        if detectors is not None and name not in detectors:
            yield f"unknown detector {name!r}, wanted one of the table{nearest(name, detectors)}"


def check_path(path: str) -> Iterator[str]:
    """`enterprise/site/area/line/equipment/tag`: six names, none empty or unprintable, at most 256 bytes."""
    names = path.split("/")
    if len(names) != len(PATH_LEVELS):
        yield f"path {path!r} has {len(names)} names, wanted {len(PATH_LEVELS)}: {'/'.join(PATH_LEVELS)}"
    elif not all(names):
        level = PATH_LEVELS[names.index("")]
        yield f"path {path!r} has an empty {level}, wanted a name there"
    if any(_unfit(letter) for letter in path):
        yield f"path {path!r} holds a blank, '*' or control character, wanted letters, digits, '-', '_', '.'"
    length = len(path.encode())
    if length > TAG_LENGTH_MAX:
        yield f"path of {length} bytes, wanted at most {TAG_LENGTH_MAX}; shorten the names"


def _unfit(letter: str) -> bool:
    return letter.isspace() or letter in "*?" or unicodedata.category(letter)[0] == "C"


def _check_source(tag: TagModel) -> Iterator[str]:
    if not tag.source:
        yield "no source, wanted the name of the gateway that sends it; set `source` here or at a level above"
    elif len(tag.source.encode()) > SOURCE_LENGTH_MAX:
        yield f"source of {len(tag.source.encode())} bytes, wanted at most {SOURCE_LENGTH_MAX}"


def _check_limits(tag: TagModel) -> Iterator[str]:
    """The limits that are there must rise: range_low < low_low < low < high < high_high < range_high."""
    there = [(name, getattr(tag, name)) for name in _LIMITS if getattr(tag, name) is not None]
    for (low_name, low), (high_name, high) in pairwise(there):
        ranges = {low_name, high_name} & {"range_low", "range_high"}
        if low > high or (low == high and not (ranges and len(ranges) == 1)):
            yield (
                f"{low_name} {low:g} and {high_name} {high:g} are out of order, "
                f"wanted {' < '.join(name for name, _ in there)}; swap or correct them"
            )


def _check_times(tag: TagModel) -> Iterator[str]:
    if tag.period_us < PERIOD_MIN_US:
        yield f"period {shown(tag.period_us)}, wanted {shown(PERIOD_MIN_US)} or more"
    if tag.silence_us and tag.silence_us < tag.period_us:
        yield f"silence {shown(tag.silence_us)} is shorter than the period {shown(tag.period_us)}; raise it"


def _check_kind(tag: TagModel) -> Iterator[str]:
    if tag.kind == "state":
        if not tag.states:
            yield "a state tag without states, wanted its texts in the order of their codes"
        elif len(set(tag.states)) != len(tag.states):
            yield f"states {', '.join(tag.states)} name one twice, wanted each once"
        elif any("|" in state for state in tag.states):
            yield f"states {', '.join(tag.states)} hold a '|', which parts states in a CSV; use another sign"
        elif len(tag.states) > STATES_MAX:
            yield f"{len(tag.states)} states, wanted at most {STATES_MAX}"
    elif tag.states:
        yield f"states at a {tag.kind} tag, wanted `kind: state` or no states"
    if tag.kind in ("float", "integer") and not tag.unit:
        yield f"no unit at a {tag.kind} tag, wanted one such as degC, bar, mm/s; dimensionless is `unit: 1`"
