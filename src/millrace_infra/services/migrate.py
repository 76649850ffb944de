"""The migration: a task that `deploy` runs once, before any traffic moves.

It is the one task that may read the master's secret: on the first run nobody else is there to make the roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from millrace.names import SERVICE_API, SERVICE_MIGRATE
from millrace_infra.observability.logs import Logs
from millrace_infra.services.container import Program
from millrace_infra.services.image_variables import Images
from millrace_infra.services.task import Task
from millrace_infra.settings import Environment, TaskSize
from millrace_infra.terraform import Construct

PROGRAM: Final = Program(
    service=SERVICE_MIGRATE,
    health=(),  # it ends by itself, and its exit code is the answer
    start_s=0,
    stop_s=120,  # a statement under way may finish
    command=("python", "-m", "millrace.schema"),
)
SIZE: Final = TaskSize(cpu=256, memory_mib=1024, count_min=1, count_max=1)
"""It waits for the database most of its time; 150 MB for SQLAlchemy and the migrations."""


class MigrateTask(Construct):
    """The definition only: no service runs it. It has the API's image, where the migrations are."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        logs: Logs,
        images: Images,
        variables: Mapping[str, str],
    ) -> None:
        super().__init__(scope, id)
        self.task = Task(
            self,
            "task",
            environment=environment,
            program=PROGRAM,
            size=SIZE,
            image=SERVICE_API,
            images=images,
            logs=logs,
            variables=variables,
            collected=False,
        )
        self.task_role = self.task.task_role
        self.execution_role = self.task.execution_role

    @property
    def task_definition_arn(self) -> str:
        return self.task.arn
