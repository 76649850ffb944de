"""The composition root: which stacks there are, and the platform from left to right."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from millrace.errors import MillraceError
from millrace.names import PROJECT
from millrace_infra.security import Keys
from millrace_infra.settings import Environment, load
from millrace_infra.stack import Stack
from millrace_infra.terraform import App


class Platform(Stack):
    """Everything of one suffix, in the order of the flow; grants come last."""

    def __init__(self, scope: App, environment: Environment) -> None:
        super().__init__(scope, f"{PROJECT}-{environment.suffix}", environment, tags=environment.tags)
        self.keys = Keys(self, "keys", environment=environment)


def build(environment: Environment, *, outdir: str) -> App:
    """The program of one environment, not yet written."""
    app = App(outdir=outdir)
    Platform(app, environment)
    return app


def main(environ: Mapping[str, str] = os.environ) -> int:
    """For `cdktf synth`: the environment by name, the suffix, the region if it is to be checked."""
    try:
        environment = load(
            environ.get("ENV", "dev"),
            environ.get("ENVIRONMENT_SUFFIX", "dev"),
            region=environ.get("AWS_REGION", ""),
        )
        build(environment, outdir=environ.get("CDKTF_OUTDIR", "cdktf.out")).synth()
    except MillraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
