"""Where a verb works: the program of one environment, synthesized in a folder of its own, and its stacks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from millrace.errors import MillraceError, SettingError
from millrace.names import PROJECT
from millrace_infra.engine import need_node
from millrace_infra.settings import Environment
from millrace_infra.terraform_run import Terraform, need_terraform, stack

FOLDER: Final = Path("cdktf.out")
ACCOUNT: Final = "account"
"""No suffix is called so."""
OUTPUTS: Final = Path("cfn-outputs") / "flat-outputs.json"
"""Where integration tests look for what was deployed: flat name -> value."""


@dataclass(frozen=True)
class Workspace:
    """One environment under one suffix. Two suffixes never share a folder."""

    environment: Environment
    folder: Path

    @property
    def platform(self) -> str:
        return f"{PROJECT}-{self.environment.suffix}"

    @property
    def registry(self) -> str:
        return f"{PROJECT}-registry-{self.environment.suffix}"

    def synthesize(self) -> list[str]:
        """Names of the stacks that were written."""
        need_node()
        from millrace_infra.app import build  # loads the CDK, which starts Node

        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # the CDK makes one folder, not those above it
        except OSError as error:
            want = "a folder to write the program to"
            raise SettingError(str(self.folder), got=error.strerror, want=want) from None
        # what a former program wrote goes, what Terraform downloaded and a local state stay
        for file in self.folder.glob("stacks/*/cdk.tf.json"):
            file.unlink()
        # whole path: Node stays in the folder where it was started, we may have left it since
        build(self.environment, outdir=str(self.folder.absolute())).synth()
        return self.stacks()

    def stacks(self) -> list[str]:
        return sorted(file.parent.name for file in self.folder.glob("stacks/*/cdk.tf.json"))

    @contextmanager
    def terraform(
        self,
        name: str,
        *,
        variables: Mapping[str, str] | None = None,
        shown: bool = True,
        migrate_state: bool = False,
    ) -> Iterator[Terraform]:
        """Terraform in the stack of that name, initialized. Variables travel in the environment."""
        given = {f"TF_VAR_{key}": value for key, value in (variables or {}).items()}
        environ = {**os.environ, "AWS_REGION": self.environment.region, **given}
        with stack(self.folder / "stacks" / name, environ, shown=shown) as run:
            run.init(migrate_state=migrate_state)
            yield run


def workspace(environment: Environment) -> Workspace:
    """The workspace of an environment; refuses at once without Node or a Terraform that is new enough."""
    need_node()
    need_terraform()
    return Workspace(environment, FOLDER / f"{environment.name}-{environment.suffix}")


def account_workspace(environment: Environment) -> Workspace:
    """Where the account's own stack is applied: one place for all environments and suffixes of a region.

    A state beside the program, of a first run that broke off or for good, is found again by any of them.
    """
    need_node()
    need_terraform()
    account = environment.settings.account_id
    return Workspace(environment, FOLDER / f"{ACCOUNT}-{account}-{environment.region}")


def output_of(outputs: Mapping[str, Any], name: str, failed: type[MillraceError]) -> Any:
    """One of them; `failed` where the platform has none of that name."""
    if name not in outputs:
        raise failed(f"the platform has no output {name}: it was made by another version, deploy it again")
    return outputs[name]


def write_outputs(outputs: Mapping[str, object], file: Path = OUTPUTS) -> Path:
    """Flat name -> value, for tests and scripts; written whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(dict(sorted(outputs.items())), indent=2) + "\n")
    part.replace(file)
    return file
