"""What every verb is asked for: which environment, under which suffix."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from millrace.errors import SettingError
from millrace_infra.settings import Environment, load

EnvOption = Annotated[
    str, typer.Option("--env", envvar="ENV", help="an environment: the name of a file in environments/")
]
SuffixOption = Annotated[
    str,
    typer.Option("--suffix", envvar="ENVIRONMENT_SUFFIX", help="sets deployments apart, for example pr42"),
]


def chosen(env: str, suffix: str) -> Environment:
    """The environment, checked; AWS_REGION must agree with it where it is set."""
    if not env:
        raise SettingError("ENV", got="", want="the name of a file in environments/, for example dev")
    return load(env, suffix, region=os.environ.get("AWS_REGION", ""))
