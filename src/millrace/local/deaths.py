"""When a dead child is started again: soon, then later, and not at all when it keeps dying."""

from __future__ import annotations

from collections import deque

DEATHS_MAX = 5
DEATHS_WINDOW_S = 60.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0


class Deaths:
    """The deaths of one child within the last minute. Times are monotonic seconds, given by the caller."""

    def __init__(self, *, backoff_s: float = BACKOFF_S) -> None:
        self._backoff_s = backoff_s
        self._times_s: deque[float] = deque(maxlen=DEATHS_MAX)

    def note(self, now_s: float, *, killed: bool = False) -> float:
        """It died now; the time at which it may be started again.

        `killed`: by a signal from outside. That says nothing against the child, so it is not counted.
        """
        if killed:
            return now_s + self._backoff_s
        self._times_s.append(now_s)
        recent = sum(now_s - time_s < DEATHS_WINDOW_S for time_s in self._times_s)
        return now_s + min(self._backoff_s * 2.0 ** (recent - 1), BACKOFF_MAX_S)

    def hopeless(self, now_s: float) -> bool:
        """It died five times within a minute: something is wrong that a restart does not mend."""
        return len(self._times_s) == DEATHS_MAX and now_s - self._times_s[0] < DEATHS_WINDOW_S
