"""`millrace simulate`: a plant, a scenario or a fault against the running platform."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.platform import HomeOption, running


def simulate(
    home: HomeOption = None,
    fault: Annotated[
        str, typer.Option(help="Break something now: pump, press, oven, …, or a kind: drift, stuck, …")
    ] = "",
    equipment: Annotated[
        str, typer.Option(help="What to break: a path or a pattern, e.g. acme/lyon/*/pump-03.")
    ] = "",
    duration_s: Annotated[
        float | None, typer.Option("--duration-s", min=0.1, help="How long it lasts.", show_default=False)
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Mend everything that was broken before.")] = False,
    scenario: Annotated[
        Path | None, typer.Option(help="Run a scenario file (docs/scenarios.md).", show_default=False)
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Handed on to the plant, after --.")] = None,
) -> None:
    """Break something in the plant that runs, or run a plant or a scenario against the running platform.

    Detectors learn a tag first, for 60 to 200 readings: a fault in a plant's first minutes is not seen.
    """
    settings, endpoints = running(home)
    if fault or clear:
        _order(settings.home, fault, equipment, duration_s, clear=clear)
        return
    from millrace.local.processes import environment

    more = ["--scenario", str(scenario)] if scenario else []
    command = [sys.executable, "-m", "millrace.devices", *more, *(arguments or [])]
    environ = environment(settings, endpoints, os.environ)
    raise typer.Exit(subprocess.run(command, env=environ, check=False).returncode)


def _order(home: Path, fault: str, equipment: str, duration_s: float | None, *, clear: bool) -> None:
    """Tell the running plant, and say what it struck."""
    from millrace.devices.commands import Command, order, orders_of

    faults = orders_of(fault, equipment=equipment, duration_s=duration_s) if fault else ()
    answer = order(home, Command(faults=faults, clear=clear))
    if clear:
        typer.echo("everything that was broken is mended")
    for struck in answer.struck:
        seconds = (struck.end_us - struck.start_us) / 1e6
        typer.echo(
            f"{struck.kind} for {seconds:g} s on {', '.join(struck.tags[:5])}{' …' * (len(struck.tags) > 5)}"
        )
