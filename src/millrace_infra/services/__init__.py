"""What computes: the cluster, the task definitions, the three services and the migration."""

from millrace_infra.services.api import ApiService
from millrace_infra.services.cluster import Cluster
from millrace_infra.services.dashboard import DashboardService
from millrace_infra.services.image_variables import Images
from millrace_infra.services.listening import start_after_grants
from millrace_infra.services.migrate import MigrateTask
from millrace_infra.services.scaling import ApiScaling, DashboardScaling, WorkerScaling, tasks_min
from millrace_infra.services.worker import WorkerService

__all__ = [
    "ApiScaling",
    "ApiService",
    "Cluster",
    "DashboardScaling",
    "DashboardService",
    "Images",
    "MigrateTask",
    "WorkerScaling",
    "WorkerService",
    "start_after_grants",
    "tasks_min",
]
