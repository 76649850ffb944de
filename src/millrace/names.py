"""Words that the data plane and the infrastructure share: one spelling, one place."""

from __future__ import annotations

from typing import Final

PROJECT: Final = "millrace"

# Environment variables. `settings.py` turns each MILLRACE_* into a field of the same name.
ENV_PREFIX: Final = "MILLRACE_"
ENV_HOME: Final = "MILLRACE_HOME"

# Processes of the data plane.
SERVICE_WORKER: Final = "worker"
SERVICE_API: Final = "api"
SERVICE_DASHBOARD: Final = "dashboard"

# On AWS: what the tasks are told beside the settings above. What no program reads so far is a table of docs/deploy.md,
# "What does not run yet".
SERVICE_MIGRATE: Final = "migrate"
SERVICE_COLLECTOR: Final = "collector"
ENV_API_HOST: Final = "MILLRACE_API_HOST"
ENV_API_PORT: Final = "MILLRACE_API_PORT"
ENV_API_URL: Final = "MILLRACE_API_URL"
"""Where the dashboard finds the API."""
ENV_DASHBOARD_HOST: Final = "MILLRACE_DASHBOARD_HOST"
ENV_DASHBOARD_PORT: Final = "MILLRACE_DASHBOARD_PORT"
ENV_DASHBOARD_URL: Final = "MILLRACE_DASHBOARD_URL"
"""Where people open the dashboard: a sign-in returns there."""
ENV_TLS_FOLDER: Final = "MILLRACE_TLS_FOLDER"
"""Where a server is to make its own key and certificate when it starts, to serve HTTPS only."""
ENV_SHARED_FOLDER: Final = "MILLRACE_SHARED_FOLDER"
"""The file system that all tasks share."""
ENV_HEARTBEAT_FILE: Final = "MILLRACE_HEARTBEAT_FILE"
"""A worker is to touch it with each turn of its loop; a file that grows old is a worker that hangs."""
ENV_OIDC_ISSUER: Final = "MILLRACE_OIDC_ISSUER"
ENV_OIDC_CLIENT_ID: Final = "MILLRACE_OIDC_CLIENT_ID"

# Tables of the operational store that more than one place names.
TABLE_READING: Final = "reading"
TABLE_ROLLUP_1S: Final = "rollup_1s"
TABLE_ROLLUP_1M: Final = "rollup_1m"
TABLE_ROLLUP_1H: Final = "rollup_1h"
TABLE_LEDGER: Final = "ledger"
TABLE_MODEL_CHANGE: Final = "model_change"


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

# On AWS: what the stores are called in a task's environment, and the words that both sides use for them.
ENV_STREAM_NAME: Final = "MILLRACE_STREAM_NAME"
ENV_STREAM_CONSUMER_ARN: Final = "MILLRACE_STREAM_CONSUMER_ARN"
ENV_LEASE_TABLE: Final = "MILLRACE_LEASE_TABLE"
ENV_ARCHIVE_BUCKET: Final = "MILLRACE_ARCHIVE_BUCKET"
ENV_ARCHIVE_LOCK_DAYS: Final = "MILLRACE_ARCHIVE_LOCK_DAYS"
ENV_DATABASE_HOST: Final = "MILLRACE_DATABASE_HOST"
ENV_DATABASE_READER_HOST: Final = "MILLRACE_DATABASE_READER_HOST"
ENV_DATABASE_NAME: Final = "MILLRACE_DATABASE_NAME"
ENV_DATABASE_USER: Final = "MILLRACE_DATABASE_USER"
ENV_DATABASE_CA_FILE: Final = "MILLRACE_DATABASE_CA_FILE"
"""The authorities (PEM) that may have signed the database's certificate."""
ENV_CACHE_HOST: Final = "MILLRACE_CACHE_HOST"
ENV_CACHE_NAME: Final = "MILLRACE_CACHE_NAME"
ENV_CACHE_USER: Final = "MILLRACE_CACHE_USER"
ENV_SECRET_DATABASE_MASTER: Final = "MILLRACE_SECRET_DATABASE_MASTER_ARN"
ENV_SECRET_DATABASE_USER: Final = "MILLRACE_SECRET_DATABASE_USER_ARN"
ENV_SECRET_API_SIGNING: Final = "MILLRACE_SECRET_API_SIGNING_ARN"
ENV_SECRET_API_KEYS: Final = "MILLRACE_SECRET_API_KEYS_ARN"
ENV_SECRET_DASHBOARD_OIDC: Final = "MILLRACE_SECRET_DASHBOARD_OIDC_ARN"

# On AWS: what the functions that rotate secrets are told beside where the stores and secrets are.
ENV_USAGE_PLAN_ID: Final = "MILLRACE_USAGE_PLAN_ID"
ENV_SUFFIX: Final = "MILLRACE_SUFFIX"
ENV_TAGS: Final = "MILLRACE_TAGS"
"""JSON: the tags that every resource of the platform carries."""

# Users of the operational store. The owner cannot sign in: it owns every object, the others take its role.
DATABASE: Final = "millrace"
DATABASE_MASTER: Final = "millrace_master"
DATABASE_OWNER: Final = "millrace_owner"
DATABASE_USERS: Final = ("millrace_a", "millrace_b")
DATABASE_MIGRATE: Final = "millrace_migrate"
DATABASE_READONLY: Final = "millrace_readonly"
DATABASE_PORT: Final = 5432
DATABASE_CA_FILE: Final = "/etc/millrace/rds-ca.pem"
"""Where our images hold the authorities of Amazon RDS: no public list of authorities has them."""

# Keys of the real-time store begin with this; its users may touch no other.
CACHE_KEY_PREFIX: Final = "millrace:"

# First part of a key in the archive's bucket: the data class decides how long S3 keeps the file.
ARCHIVE_CRITICAL: Final = "critical/"
ARCHIVE_STANDARD: Final = "standard/"
ARCHIVE_QUARANTINE: Final = "quarantine/"

# On AWS: a metric that only a deployment has, in the namespace of those that the collector sends.
ENV_METRIC_NAMESPACE: Final = "MILLRACE_METRIC_NAMESPACE"
METRIC_SECRET_AGE_DAYS: Final = "secret_age_days"
LABEL_SECRET: Final = "secret"
