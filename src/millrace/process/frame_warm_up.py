"""Compile the kernels that frames pass through from bytes to judged readings; see `kernels`."""

from __future__ import annotations

from typing import Final

import numpy as np

from millrace.batch import Frame, Incarnation, Record
from millrace.process.shard import ShardProcess
from millrace.process.state import ShardState
from millrace.protocols import Limits, decode_record, frame

_NOW_US: Final = 1_767_600_000_000_000
_SOURCE: Final = "warm-up"


def pass_two_frames() -> None:
    """A shard of its own sees two frames of one source; nothing is kept.

    The first makes the source and its dictionary known, so that the second is read by the kernels.
    """
    limits = Limits()
    shard = ShardProcess(ShardState(0), lambda record: decode_record(record, limits))
    for seq in (1, 2):
        data = frame.encode(_one_reading(seq))
        shard.step([Record(seq, _NOW_US, _SOURCE, data)])


def _one_reading(seq: int) -> Frame:
    return Frame(
        source=_SOURCE,
        incarnation=Incarnation(_NOW_US, 1),
        seq=seq,
        received_ts_us=_NOW_US,
        tags=("warm-up",),
        kinds=np.zeros(1, np.uint8),
        tag=np.zeros(1, np.uint32),
        ts_us=np.full(1, _NOW_US),
        value=np.ones(1),
        quality=np.full(1, 192, np.uint8),
    )
