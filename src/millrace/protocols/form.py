"""The form of readings, a column at a time: tag, unit, time, quality, value; the first one wrong is the reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from millrace.batch import F64, I64, QUALITY_UNCERTAIN, U8, U32, Bool, Reason
from millrace.protocols.limits import UNITS_MAX, Limits
from millrace.protocols.tag_path import tag_reason, unit_ok
from millrace.protocols.time_text import NO_TIME


def tag_reasons(tags: Sequence[str], limits: Limits, units: Sequence[str] = ()) -> U8:
    """Why each tag of a dictionary cannot be taken (k,): its form, one more than `tags_max`, or its unit."""
    reasons = np.fromiter(map(tag_reason, tags), np.uint8, len(tags))
    if len(tags) > limits.tags_max:
        late = reasons[limits.tags_max :]
        late[late == Reason.OK] = Reason.TOO_MANY_TAGS
    if units:
        _mark(reasons, _are_no_units(units), Reason.BAD_SCHEMA)
    return reasons


def _are_no_units(units: Sequence[str]) -> Bool:
    """Where a text can be no unit, or is one more than a dictionary may hold."""
    good = [unit for unit in dict.fromkeys(units) if unit and unit_ok(unit)]
    known = {"", *good[:UNITS_MAX]}
    return np.fromiter((unit not in known for unit in units), np.bool_, len(units))


def judge(
    tag_reason_of: U8, tag: U32, ts_us: I64, value: F64, quality: I64, *, received_ts_us: int, limits: Limits
) -> U8:
    """A reason per row (n,), `Reason.OK` for most. `ts_us` is `NO_TIME` where none could be read."""
    reasons = np.zeros(len(tag), np.uint8)
    if tag_reason_of.any():
        reasons[:] = tag_reason_of[tag]
    _mark(reasons, ts_us == NO_TIME, Reason.BAD_TIME)
    _mark(reasons, ts_us < received_ts_us - limits.past_max_us, Reason.TIME_TOO_OLD)
    _mark(reasons, ts_us > received_ts_us + limits.future_max_us, Reason.TIME_IN_FUTURE)
    _mark(reasons, (quality < 0) | (quality > 255), Reason.BAD_QUALITY)
    _mark(reasons, np.isinf(value), Reason.NOT_FINITE)
    _mark(reasons, np.isnan(value) & (quality >= QUALITY_UNCERTAIN), Reason.VALUE_MISSING)
    return reasons


def _mark(reasons: U8, wrong: Bool, reason: Reason) -> None:
    if wrong.any():
        reasons[wrong & (reasons == Reason.OK)] = reason
