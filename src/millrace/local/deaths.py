"""When a dead child is started again: soon, then later, and not at all when it keeps dying."""

from __future__ import annotations

from collections import deque

DEATHS_MAX = 5
DEATHS_WINDOW_S = 60.0
RECORD_DEATHS_MAX = 100
"""Of records, within an hour: some thirty of them quarantined. More, and it is no record that is wrong."""
RECORD_DEATHS_WINDOW_S = 3600.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0


class Deaths:
    """The deaths of one child within the last minute. Times are monotonic seconds, given by the caller."""

    def __init__(self, *, backoff_s: float = BACKOFF_S) -> None:
        self._backoff_s = backoff_s
        self._times_s: deque[float] = deque(maxlen=DEATHS_MAX)
        self._of_records_s: deque[float] = deque(maxlen=RECORD_DEATHS_MAX)

    def note(self, now_s: float, *, killed: bool = False, of_record: bool = False) -> float:
        """It died now; the time at which it may be started again.

        `killed`: by a signal from outside. That says nothing against the child, so it is not counted.
        `of_record`: of a lone record, which is quarantined soon (law 12); counted apart.
        """
        if of_record:
            self._of_records_s.append(now_s)
        if killed or of_record:
            return now_s + self._backoff_s
        self._times_s.append(now_s)
        recent = sum(now_s - time_s < DEATHS_WINDOW_S for time_s in self._times_s)
        return now_s + min(self._backoff_s * 2.0 ** (recent - 1), BACKOFF_MAX_S)

    def too_many(self, now_s: float) -> str:
        """How often it died, in words, where a restart mends nothing; empty while there is hope."""
        if _full(self._times_s, now_s, DEATHS_WINDOW_S):
            return f"{DEATHS_MAX} times within a minute"
        if _full(self._of_records_s, now_s, RECORD_DEATHS_WINDOW_S):
            return f"of records, {RECORD_DEATHS_MAX} times within an hour"
        return ""


def _full(times_s: deque[float], now_s: float, window_s: float) -> bool:
    """As many as fit, all of them within the window."""
    return len(times_s) == times_s.maxlen and now_s - times_s[0] < window_s
