"""The form of readings, a column at a time: tag, time, quality, value; the first one wrong is the reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from millrace.batch import F64, I64, QUALITY_UNCERTAIN, U8, U32, Reason
from millrace.protocols.limits import Limits
from millrace.protocols.tag_path import tag_reason
from millrace.protocols.time_text import NO_TIME


def tag_reasons(tags: Sequence[str], limits: Limits) -> U8:
    """Why each tag of a dictionary cannot be taken (k,): its form, or one more than `tags_max`."""
    reasons = np.fromiter(map(tag_reason, tags), np.uint8, len(tags))
    if len(tags) > limits.tags_max:
        late = reasons[limits.tags_max :]
        late[late == Reason.OK] = Reason.TOO_MANY_TAGS
    return reasons


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


def _mark(reasons: U8, wrong: np.ndarray[tuple[int], np.dtype[np.bool_]], reason: Reason) -> None:
    if wrong.any():
        reasons[wrong & (reasons == Reason.OK)] = reason
