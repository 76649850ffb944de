"""Shared storage: EFS for what a worker's successor needs and what the API reads beside the stores.

The workers write snapshots, and segments until S3 has them; the API reads segments. Each service comes through
an access point of its own: to the same folder, as the same unprivileged user, with its own rights. A client
without TLS, or without an access point, is refused by the file system itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from millrace import names as words
from millrace_infra.network import Network
from millrace_infra.policy import Statement, document
from millrace_infra.security import Key
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    EfsAccessPoint,
    EfsAccessPointPosixUser,
    EfsAccessPointRootDirectory,
    EfsAccessPointRootDirectoryCreationInfo,
    EfsFileSystem,
    EfsFileSystemLifecyclePolicy,
    EfsFileSystemPolicy,
    EfsMountTarget,
)

USER_ID: Final = 10001
"""Of the images' user, which is no user of the host."""
FOLDER: Final = "/data"
_READ: Final = ("elasticfilesystem:ClientMount",)
_WRITE: Final = (*_READ, "elasticfilesystem:ClientWrite")
MAY: Final[Mapping[str, Sequence[str]]] = {words.SERVICE_WORKER: _WRITE, words.SERVICE_API: _READ}
"""What each service may do; none may be root there."""


class SharedStorage(Construct):
    """The file system of one suffix."""

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, key: Key, network: Network
    ) -> None:
        super().__init__(scope, id)
        self.key = key
        name = environment.names.of("shared-storage")
        self._system = EfsFileSystem(
            self,
            "system",
            creation_token=name,
            encrypted=True,
            kms_key_id=key.arn,
            # a worker that starts reads its snapshots at once: elastic gives a burst without credits
            throughput_mode="elastic",
            lifecycle_policy=[
                # an old snapshot is read after a disaster, then it is warm again
                EfsFileSystemLifecyclePolicy(transition_to_ia="AFTER_30_DAYS"),
                EfsFileSystemLifecyclePolicy(transition_to_primary_storage_class="AFTER_1_ACCESS"),
            ],
            tags={"Name": name, "data-class": "critical"},
        )
        self._close()
        for number, zone_id in enumerate(environment.settings.zone_ids):
            EfsMountTarget(
                self,
                f"mount-{zone_id}",
                file_system_id=self.file_system_id,
                subnet_id=network.isolated_subnet_ids[number],
                security_groups=[network.security_group("efs")],
            )
        self._points = {service: self._point(service, environment) for service in MAY}

    @property
    def file_system_id(self) -> str:
        return self._system.id

    @property
    def arn(self) -> str:
        return self._system.arn

    def access_point_id(self, service: str) -> str:
        """Where that service mounts; its root is the data folder, so the mount names no path."""
        return self._points[service].id

    def mount(self, service: str) -> Statement:
        """Mount through that service's access point, with TLS, and no other way."""
        condition = {
            "StringEquals": {"elasticfilesystem:AccessPointArn": self._points[service].arn},
            "Bool": {"aws:SecureTransport": "true"},
        }
        return Statement(MAY[service], (self.arn,), condition)

    def _close(self) -> None:
        everyone = {"AWS": "*"}
        clients = (*_WRITE, "elasticfilesystem:ClientRootAccess")
        EfsFileSystemPolicy(
            self,
            "policy",
            file_system_id=self.file_system_id,
            # with a policy of its own EFS lets nobody in whom IAM does not let in
            policy=document(
                Statement(
                    clients,
                    (self.arn,),
                    {"Bool": {"aws:SecureTransport": "false"}},
                    "Deny",
                    principals=everyone,
                ),
                Statement(
                    clients,
                    (self.arn,),
                    {"Null": {"elasticfilesystem:AccessPointArn": "true"}},
                    "Deny",
                    principals=everyone,
                ),
                Statement(
                    ("elasticfilesystem:ClientRootAccess",),
                    (self.arn,),
                    effect="Deny",
                    principals=everyone,
                ),
            ),
        )

    def _point(self, service: str, environment: Environment) -> EfsAccessPoint:
        name = environment.names.of(service)
        return EfsAccessPoint(
            self,
            f"point-{service}",
            file_system_id=self.file_system_id,
            posix_user=EfsAccessPointPosixUser(uid=USER_ID, gid=USER_ID),
            root_directory=EfsAccessPointRootDirectory(
                path=FOLDER,
                creation_info=EfsAccessPointRootDirectoryCreationInfo(
                    owner_uid=USER_ID, owner_gid=USER_ID, permissions="0750"
                ),
            ),
            tags={"Name": name, "data-class": "critical"},
        )
