"""PostgreSQL's parameters: TLS or nothing, what is logged, and how long a forgotten transaction may live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from millrace_infra.naming import Names
from millrace_infra.terraform import (
    Construct,
    RdsClusterParameterGroup,
    RdsClusterParameterGroupParameter,
)

PARAMETERS: Final[Mapping[str, str]] = {
    "rds.force_ssl": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "password_encryption": "scram-sha-256",
    "log_connections": "1",
    "log_disconnections": "1",
    "log_lock_waits": "1",
    # not ddl: ALTER ROLE … PASSWORD is DDL, and a rotated password would stand in the log
    "log_statement": "none",
    "log_min_duration_statement": "1000",  # ms: the write path takes tens, the slowest read has 10 s
    "log_temp_files": "65536",  # kB: a sort that spilt 64 MB wants an index or memory
    "log_autovacuum_min_duration": "10000",  # ms
    # ms: a session that forgot its transaction keeps vacuum from every table
    "idle_in_transaction_session_timeout": "60000",
}
"""All can change while the cluster runs."""


def parameters(scope: Construct, names: Names, family: str) -> str:
    """The name of the cluster's parameter group."""
    name = names.of("aurora", "database")
    return RdsClusterParameterGroup(
        scope,
        "parameters",
        name=name,
        family=family,
        description=f"cluster parameters of {name}",
        parameter=[
            RdsClusterParameterGroupParameter(name=parameter, value=value, apply_method="immediate")
            for parameter, value in PARAMETERS.items()
        ],
        tags={"Name": name},
    ).name
