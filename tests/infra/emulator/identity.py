"""IAM: service-linked roles under the names that AWS gives them, one for each service.

moto makes up a name out of the service's, and a second role of it where AWS refuses.
"""

from __future__ import annotations

from typing import Final

from moto.iam.exceptions import InvalidInput
from moto.iam.models import IAMBackend, Role

from millrace_infra.account_parts import SERVICE_LINKED

NAMES: Final = dict(SERVICE_LINKED.values())
_create: Final = IAMBackend.create_service_linked_role


def create_service_linked_role(self: IAMBackend, service_name: str, description: str, suffix: str) -> Role:
    name = NAMES.get(service_name, "")
    if any(role.name == name for role in self.roles.values()):
        raise InvalidInput(
            f"Service role name {name} has been taken in this account, please try a different suffix."
        )
    made = _create(self, service_name, description, suffix)
    if name:
        made.name = name
    return made


IAMBackend.create_service_linked_role = create_service_linked_role  # type: ignore[method-assign]
