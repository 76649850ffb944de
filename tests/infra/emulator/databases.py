"""RDS: a cluster's automatic snapshots go with it, as they do on AWS unless somebody asks to keep them."""

from __future__ import annotations

from typing import Any, Final

from moto.rds.models import RDSBackend

_delete: Final = RDSBackend.delete_db_cluster


def delete_db_cluster(self: RDSBackend, cluster_identifier: str, *arguments: Any, **named: Any) -> Any:
    gone = _delete(self, cluster_identifier, *arguments, **named)
    for name, one in list(self.cluster_snapshots.items()):
        if one.snapshot_type == "automated" and one.cluster.db_cluster_identifier == cluster_identifier:
            del self.cluster_snapshots[name]
    return gone


RDSBackend.delete_db_cluster = delete_db_cluster  # type: ignore[method-assign]
