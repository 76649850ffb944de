"""Words that the data plane and the infrastructure share: one spelling, one place."""

from __future__ import annotations

from typing import Final

PROJECT: Final = "millrace"

# Environment variables. `settings.py` turns each MILLRACE_* into a field of the same name.
ENV_PREFIX: Final = "MILLRACE_"
ENV_HOME: Final = "MILLRACE_HOME"
ENV_DATA_DIR: Final = "MILLRACE_DATA_DIR"

# Processes of the data plane.
SERVICE_WORKER: Final = "worker"
SERVICE_API: Final = "api"
SERVICE_DASHBOARD: Final = "dashboard"

# Tables of the operational store, in the order in which they are written.
TABLE_TAG: Final = "tag"
TABLE_READING: Final = "reading"
TABLE_ROLLUP_1S: Final = "rollup_1s"
TABLE_ROLLUP_1M: Final = "rollup_1m"
TABLE_ROLLUP_1H: Final = "rollup_1h"
TABLE_ANOMALY: Final = "anomaly"
TABLE_ALARM: Final = "alarm"
TABLE_ALARM_EVENT: Final = "alarm_event"
TABLE_REJECT: Final = "reject"
TABLE_SEGMENT: Final = "segment"
TABLE_LEDGER: Final = "ledger"
TABLE_SHARD: Final = "shard"
TABLE_SKIP: Final = "skip"
TABLE_MODEL_CHANGE: Final = "model_change"
TABLE_AUDIT_EVENT: Final = "audit_event"


def stream_key(shard: int) -> str:
    """Key of one shard's record log in the stream server."""
    return f"millrace:shard:{shard}"


def live_key(shard: int) -> str:
    """Key of one shard's log of live blobs in the real-time store."""
    return f"millrace:live:{shard}"


def latest_key(shard: int) -> str:
    """Key of one shard's packed latest values in the real-time store."""
    return f"millrace:latest:{shard}"


def fence_key(shard: int) -> str:
    """Key of one shard's newest (epoch, position) in the real-time store."""
    return f"millrace:fence:{shard}"
