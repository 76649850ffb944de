"""What every stack of ours has: state, provider, tags."""

from __future__ import annotations

from millrace.names import PROJECT
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    App,
    AwsProvider,
    AwsProviderDefaultTags,
    LocalBackend,
    S3Backend,
    TerraformStack,
)


def state_bucket(environment: Environment) -> str:
    """The bucket that `make bootstrap` makes, once per account and region."""
    settings = environment.settings
    return settings.state.bucket or f"{PROJECT}-state-{settings.account_id}-{settings.region}"


class Stack(TerraformStack):
    """A stack whose state lies where the environment says; its path never depends on the machine."""

    def __init__(self, scope: App, name: str, environment: Environment, *, tags: dict[str, str]) -> None:
        super().__init__(scope, name)
        self.environment = environment
        if environment.settings.state.kind == "s3":
            backend = S3Backend(
                self,
                bucket=state_bucket(environment),
                key=f"{name}/terraform.tfstate",
                region=environment.region,
                encrypt=True,
                kms_key_id=f"alias/{PROJECT}-state",
            )
            backend.add_override("use_lockfile", True)  # younger than the binding
        else:
            LocalBackend(self, path=f"{name}.tfstate")
        AwsProvider(
            self,
            "aws",
            region=environment.region,
            # the wrong credentials must not find out at the first resource that they are wrong
            allowed_account_ids=[environment.settings.account_id],
            max_retries=5,
            default_tags=[AwsProviderDefaultTags(tags=tags)],
        )
