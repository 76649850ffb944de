"""The OpenTelemetry collector beside each program: traces to X-Ray, metrics to CloudWatch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from millrace.names import SERVICE_COLLECTOR
from millrace_infra.services.container import confined, told

CONFIG: Final = Path(__file__).with_name("collector.yaml")
OTLP_ENDPOINT: Final = "http://127.0.0.1:4318"
"""Inside the task: no hop of a network."""
METRIC_NAMESPACE: Final = "Millrace"
MEMORY_MIB: Final = 128
"""Its own limiter is at 96 MiB; beyond this it is killed and started again, and the program goes on."""
REPORT_EVERY_MS: Final = 15_000
"""How often a program tells what it counted: four times in the minute that an alarm looks at."""
RESTART_AFTER_S: Final = 60
"""The shortest that ECS lets a container run before it may start it again."""


def namespace(suffix: str) -> str:
    """Of the metrics: two suffixes in one region do not add up."""
    return f"{METRIC_NAMESPACE}/{suffix}"


def collector(*, image: str, log_group: str, suffix: str, region: str) -> dict[str, Any]:
    """Starts first, and the task lives on without it: telemetry is no reason to stop the flow."""
    variables = {"AOT_CONFIG_CONTENT": _config(log_group, suffix, region), "AWS_REGION": region}
    return confined(SERVICE_COLLECTOR, image, log_group, region) | {
        "essential": False,
        "restartPolicy": {"enabled": True, "restartAttemptPeriod": RESTART_AFTER_S},
        "memory": MEMORY_MIB,
        "environment": told(variables),
        "stopTimeout": 30,
    }


def _config(log_group: str, suffix: str, region: str) -> str:
    """As JSON, which is YAML. Nothing is left to the collector to fill in: `${…}` would be Terraform's."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    (annotation,) = config["processors"]["attributes/suffix"]["actions"]
    annotation["value"] = suffix
    config["exporters"]["awsxray"]["region"] = region
    config["exporters"]["awsemf"] |= {
        "region": region,
        "namespace": namespace(suffix),
        "log_group_name": log_group,
    }
    return json.dumps(config, sort_keys=True)
