"""What moto lacks, one module per service: importing it registers what it answers.

The additions keep state, refer to what moto holds, and refuse what AWS's own model of a call refuses; what they
cannot show is that AWS would do the same.
"""

from __future__ import annotations

import importlib
from typing import Final

SERVICES: Final = (
    "alarms", "backup", "buckets", "budgets", "cache_groups", "codedeploy", "databases", "efs", "elasticache",
    "identity", "kinesis", "quotas", "rotations", "runs", "scaling", "traffic", "xray", "zones",
)  # fmt: skip


def load() -> None:
    for service in SERVICES:
        importlib.import_module(f"tests.infra.emulator.{service}")
