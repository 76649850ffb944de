"""The image registry: a stack of its own, because images must be there before the platform that runs them."""

from __future__ import annotations

import json
from typing import Final

from millrace.names import PROJECT
from millrace_infra.images import NAMES, repository_of
from millrace_infra.security import Keys, Purpose
from millrace_infra.settings import Environment
from millrace_infra.stack import Stack
from millrace_infra.terraform import (
    App,
    EcrLifecyclePolicy,
    EcrRepository,
    EcrRepositoryEncryptionConfiguration,
    EcrRepositoryImageScanningConfiguration,
)

KEPT: Final = 30
"""Images of a repository: a deployment may go back to any of them, at several a day for a week."""
UNTAGGED_DAYS: Final = 1
"""What has no tag is the rest of a push that broke off."""
KEY: Final = Purpose("registry", "standard", via=("ecr",))


class Registry(Stack):
    """A repository for each image that a task runs, the collector's copy included."""

    def __init__(self, scope: App, environment: Environment) -> None:
        super().__init__(
            scope, f"{PROJECT}-registry-{environment.suffix}", environment, tags=environment.tags
        )
        key = Keys(self, "keys", environment=environment, purposes=(KEY,))[KEY.noun]
        self.repositories = {image: self._repository(environment, image, key_arn=key.arn) for image in NAMES}

    def _repository(self, environment: Environment, image: str, *, key_arn: str) -> EcrRepository:
        name = repository_of(environment, image)
        made = EcrRepository(
            self,
            image,
            name=name,
            # a tag means one image for ever: what was tested is what runs
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=EcrRepositoryImageScanningConfiguration(scan_on_push=True),
            encryption_configuration=[
                EcrRepositoryEncryptionConfiguration(encryption_type="KMS", kms_key=key_arn)
            ],
            force_delete=True,
            tags={"Name": name},
        )
        EcrLifecyclePolicy(self, f"{image}-life-cycle", repository=made.name, policy=_life_cycle())
        return made


def _life_cycle() -> str:
    untagged = {
        "tagStatus": "untagged",
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": UNTAGGED_DAYS,
    }
    old = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT}
    rules = [
        {"rulePriority": 1, "description": "rests", "selection": untagged, "action": {"type": "expire"}},
        {"rulePriority": 2, "description": "old", "selection": old, "action": {"type": "expire"}},
    ]
    return json.dumps({"rules": rules}, sort_keys=True)
