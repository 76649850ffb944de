"""For each row over an expression: points of its parts that must alarm, and points that must not.

`LIMIT` stands for the row's own limit. A row over one metric needs no example: its limit says what is beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

LIMIT: Final = "limit"
UNDER: Final = "just under the limit"
Part = float | str | None
Parts = Mapping[str, Part]

_LAG_ALARMS: Sequence[Parts] = (
    {"subscribed": LIMIT, "polled": None},
    {"subscribed": None, "polled": LIMIT},
    {"subscribed": UNDER, "polled": LIMIT},
)
_LAG_IS_WELL: Sequence[Parts] = (
    {"subscribed": UNDER, "polled": None},
    {"subscribed": None, "polled": UNDER},
    {"subscribed": 0.0, "polled": 0.0},
)
_NO_TARGET: Sequence[Parts] = ({"blue": None, "green": None}, {"blue": 0.0, "green": None})
_A_TARGET: Sequence[Parts] = ({"blue": 2.0, "green": None}, {"blue": None, "green": 1.0})
_TASKS_MISSING: Sequence[Parts] = ({"wanted": 2.0, "running": 1.0}, {"wanted": 2.0, "running": None})
_TASKS_THERE: Sequence[Parts] = ({"wanted": 2.0, "running": 2.0}, {"wanted": 1.0, "running": 2.0})


def _slow(whole: str) -> tuple[Sequence[Parts], Sequence[Parts]]:
    """The 99th of 100 readings is beyond the promise, or within it; a quiet plant promises nothing."""
    return (
        ({whole: 1000.0, "slow": 11.0}, {whole: 2.0, "slow": 2.0}),
        ({whole: 1000.0, "slow": 10.0}, {whole: 1000.0, "slow": None}, {whole: None, "slow": None},
         {whole: 0.0, "slow": 0.0}),
    )  # fmt: skip


EXAMPLES: Final[Mapping[str, tuple[Sequence[Parts], Sequence[Parts]]]] = {
    "latency-visible": _slow("seen"),
    "latency-durable": _slow("applied"),
    "accepted-unlike-received": (
        ({"accepted": 1000.0, "received": 970.0}, {"accepted": 1000.0, "received": None}),
        # on its way across the hour; from gateways; a night without a reading
        ({"accepted": 1000.0, "received": 983.0}, {"accepted": 1000.0, "received": 9000.0},
         {"accepted": None, "received": 500.0}, {"accepted": 0.0, "received": 0.0}),
    ),
    "processed-unlike-applied": (
        # lost, applied twice, not applied at all
        ({"processed": 1000.0, "applied": 970.0}, {"processed": 1000.0, "applied": 1030.0},
         {"processed": 1000.0, "applied": None}),
        ({"processed": 1000.0, "applied": 983.0}, {"processed": 1000.0, "applied": 1017.0},
         {"processed": 0.0, "applied": 0.0}),
    ),
    "processed-unlike-archived": (
        # lost, listed twice, nothing listed at all
        ({"processed": 1000.0, "archived": 950.0}, {"processed": 1000.0, "archived": 1050.0},
         {"processed": 1000.0, "archived": None}),
        # on its way across the hour; a night without a reading
        ({"processed": 1000.0, "archived": 965.0}, {"processed": 1000.0, "archived": 1035.0},
         {"processed": None, "archived": None}, {"processed": 0.0, "archived": 0.0}),
    ),
    "stream-age": (_LAG_ALARMS, _LAG_IS_WELL),
    "stream-behind": (_LAG_ALARMS, _LAG_IS_WELL),
    "worker-silent": (
        ({"running": 2.0, "batches": None}, {"running": 1.0, "batches": 0.0}),
        ({"running": 2.0, "batches": 60.0}, {"running": 0.0, "batches": None}),
    ),
    "api-unreachable": (_NO_TARGET, _A_TARGET),
    "dashboard-unreachable": (_NO_TARGET, _A_TARGET),
    "tasks-too-few": (_TASKS_MISSING, _TASKS_THERE),
    "dashboard-tasks-too-few": (_TASKS_MISSING, _TASKS_THERE),
}  # fmt: skip

SILENT: Final[Mapping[str, str]] = {
    "backup-not-made": "ALARM",
    "inner-balancer-unreachable": "ALARM",
    "tasks-too-few": "ALARM",
    "dashboard-tasks-too-few": "ALARM",
    "api-unreachable": "ALARM",
    "dashboard-unreachable": "ALARM",
    # who says it is silent
    "rotation-overdue": "ALARM",
    # an expired certificate has no metric: what was known of it stays
    "certificate-expires": "as before",
}
"""Rows that are not well when nothing comes. All others: their metric is there only while something is wrong, or
another row watches for the silence."""
