"""What runs on ECS, without running: a one-off task has ended with code 0, a service has the tasks that it wants.

moto leaves both for a test to move on. Nothing is started here: what these answers say is what `deploy` waits for,
and no proof that a container starts.
"""

from __future__ import annotations

from typing import Any, Final

from moto.ecs.models import EC2ContainerServiceBackend, Service
from moto.moto_api import state_manager

state_manager.set_transition("ecs::task", {"progression": "immediate"})

_create: Final = EC2ContainerServiceBackend.create_service
_update: Final = EC2ContainerServiceBackend.update_service


def _at_once(service: Service) -> Service:
    service.running_count, service.pending_count = service.desired_count, 0
    for one in service.deployments:
        one |= {
            "taskDefinition": service.task_definition,
            "desiredCount": service.desired_count,
            "runningCount": service.desired_count,
            "pendingCount": 0,
            "rolloutState": "COMPLETED",
        }
    return service


def nothing_reserved(definition: Any) -> dict[str, Any]:
    """A task on Fargate reserves nothing of a machine; moto asks each container for its part all the same."""
    return {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}


def create_service(self: EC2ContainerServiceBackend, *arguments: Any, **named: Any) -> Service:
    return _at_once(_create(self, *arguments, **named))


def update_service(self: EC2ContainerServiceBackend, *arguments: Any, **named: Any) -> Service:
    return _at_once(_update(self, *arguments, **named))


EC2ContainerServiceBackend.create_service = create_service  # type: ignore[method-assign]
EC2ContainerServiceBackend.update_service = update_service  # type: ignore[method-assign]
EC2ContainerServiceBackend._calculate_task_resource_requirements = staticmethod(nothing_reserved)  # type: ignore[method-assign]
