"""The cluster: a name for the tasks, their metrics, and the key of their scratch disks."""

from __future__ import annotations

from millrace_infra.observability.logs import Logs
from millrace_infra.services.scratch_key import ScratchKey
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    EcsCluster,
    EcsClusterConfiguration,
    EcsClusterConfigurationExecuteCommandConfiguration,
    EcsClusterConfigurationExecuteCommandConfigurationLogConfiguration,
    EcsClusterConfigurationManagedStorageConfiguration,
    EcsClusterSetting,
)


class Cluster(Construct):
    """Fargate only; nothing to patch. Its name is known before it is made: the key's policy names it."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, logs: Logs) -> None:
        super().__init__(scope, id)
        self.static_name = environment.names.of("cluster")
        # Container Insights writes there, and would make the group itself
        insights = logs.prescribed(
            "container-insights", f"/aws/ecs/containerinsights/{self.static_name}/performance"
        )
        key = ScratchKey(self, "scratch-key", environment=environment, cluster_name=self.static_name)
        self._resource = EcsCluster(
            self,
            "cluster",
            name=self.static_name,
            # RunningTaskCount, which scaling divides by, comes from Container Insights
            setting=[EcsClusterSetting(name="containerInsights", value="enabled")],
            configuration=EcsClusterConfiguration(
                execute_command_configuration=_sessions(logs),
                managed_storage_configuration=EcsClusterConfigurationManagedStorageConfiguration(
                    fargate_ephemeral_storage_kms_key_id=key.arn
                ),
            ),
            tags={"Name": self.static_name},
            depends_on=[insights],
        )

    @property
    def arn(self) -> str:
        return self._resource.arn

    @property
    def name(self) -> str:
        return self._resource.name


def _sessions(logs: Logs) -> EcsClusterConfigurationExecuteCommandConfiguration:
    """No service of ours allows a shell: its agent writes to the root file system, and ours is read-only.

    Should one ever be allowed, every session is on record, under our key.
    """
    group = logs.group("ecs-exec")
    return EcsClusterConfigurationExecuteCommandConfiguration(
        kms_key_id=group.kms_key_id,
        logging="OVERRIDE",
        log_configuration=EcsClusterConfigurationExecuteCommandConfigurationLogConfiguration(
            cloud_watch_encryption_enabled=True, cloud_watch_log_group_name=group.name
        ),
    )
