"""What the tasks run, by digest: a tag can be moved, a digest is the image."""

from __future__ import annotations

from collections.abc import Mapping

from millrace_infra.images import NAMES, repository_of
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct, TerraformVariable, TerraformVariableValidationConfig


class Images(Construct):
    """A Terraform variable for each image: `images["worker"]`. Pushing does not change the program."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._variables: Mapping[str, TerraformVariable] = {image: self._variable(image) for image in NAMES}

    def __getitem__(self, image: str) -> str:
        return self._variables[image].string_value

    def repository_arn(self, image: str) -> str:
        """Of the registry's stack, which is there before the platform's: known by name."""
        settings, name = self._environment.settings, repository_of(self._environment, image)
        return f"arn:aws:ecr:{settings.region}:{settings.account_id}:repository/{name}"

    def _variable(self, image: str) -> TerraformVariable:
        name = f"image_{image}"
        digest = TerraformVariableValidationConfig(
            condition=f'${{can(regex("@sha256:[0-9a-f]{{64}}$", var.{name}))}}',
            error_message=f"{name} must be an image by digest, for example …/{image}@sha256:0123….",
        )
        variable = TerraformVariable(
            self,
            image,
            type="string",
            nullable=False,
            description=f"image of the {image}, by digest",
            validation=[digest],
        )
        variable.override_logical_id(name)
        return variable
