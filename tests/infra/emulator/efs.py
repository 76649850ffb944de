"""EFS: the backup policy and the end of a file system's policy; the file systems are moto's."""

from __future__ import annotations

from typing import Any

from moto.efs.models import efs_backends

from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, Refused, answers


def _file_system(call: Call) -> Any:
    systems = efs_backends[ACCOUNT_ID][call.region].file_systems_by_id
    if call["FileSystemId"] not in systems:
        raise Refused("FileSystemNotFound", f"File system '{call['FileSystemId']}' does not exist.")
    return systems[call["FileSystemId"]]


@answers("efs", "PutBackupPolicy")
def put_backup_policy(call: Call) -> dict[str, Any]:
    status = call["BackupPolicy"]["Status"]
    if status not in ("ENABLED", "DISABLED"):
        raise Refused("BadRequest", f"Status: found {status}, wanted ENABLED or DISABLED")
    _file_system(call)._backup = status == "ENABLED"
    return {"BackupPolicy": {"Status": status}}


@answers("efs", "DescribeBackupPolicy")
def describe_backup_policy(call: Call) -> dict[str, Any]:
    return {"BackupPolicy": {"Status": "ENABLED" if _file_system(call)._backup else "DISABLED"}}


@answers("efs", "DeleteFileSystemPolicy")
def delete_policy(call: Call) -> dict[str, Any]:
    _file_system(call).file_system_policy = None  # describing it answers PolicyNotFound again
    return {}
