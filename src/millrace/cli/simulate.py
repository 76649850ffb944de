"""`millrace simulate`: a plant, a scenario or a fault against the running platform."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from millrace.assets.duration import DURATION_US_MAX
from millrace.cli.platform import HomeOption, JsonOption, print_json, running
from millrace.cli.times import iso
from millrace.errors import SettingError

LEARNED_AFTER_S = 240.0  # by then a tag with a reading a second is judged by every detector


def simulate(
    home: HomeOption = None,
    fault: Annotated[
        str,
        typer.Option(
            help="Break a machine of the plant that runs: pump, press, oven, robot, conveyor, compressor, gateway; "
            "or, with --equipment, a kind of fault: spike, drift, stuck, step, dropout, …",
            show_default=False,
        ),
    ] = "",
    equipment: Annotated[
        str,
        typer.Option(
            help="What to break: a path or a pattern, e.g. acme/lyon/*/pump-03. Else the plant's first such machine.",
            show_default=False,
        ),
    ] = "",
    duration_s: Annotated[
        float | None,
        typer.Option(
            "--duration-s",
            min=0.1,
            max=DURATION_US_MAX / 1e6,
            help="How long it lasts (one to three minutes).",
            show_default=False,
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Mend everything that was broken before.")] = False,
    scenario: Annotated[
        Path | None,
        typer.Option(
            help="Run a plant as this file describes it (docs/scenarios.md) until Ctrl-C.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="For the plant itself, after --, e.g. -- --tags 500.", show_default=False),
    ] = None,
) -> None:
    """Break machines of the simulated plant, or run a plant.

    --fault and --clear speak to the plant that runs (`millrace up --simulate` starts one). Without them a
    plant is run against a running platform that has none, until Ctrl-C. Its tags join the asset model in force, in the
    place of an earlier plant's; what else the model describes stays.

    Detectors learn a tag first, for 60 to 200 readings: a fault in a plant's first minutes is not seen.
    """
    settings, endpoints = running(home)
    if not fault and (equipment or duration_s is not None):
        named = "--equipment" if equipment else "--duration-s"
        raise SettingError(named, got="no --fault", want="--fault beside it: what is to break")
    if fault or clear:
        _order(settings.home, fault, equipment, duration_s, clear=clear, as_json=as_json)
        return
    if as_json:
        raise SettingError(
            "--json", got="neither --fault nor --clear", want="one of them: a plant prints its log"
        )
    from millrace.local.processes import environment

    more = ["--scenario", str(scenario)] if scenario else []
    command = [sys.executable, "-m", "millrace.devices", *more, *(arguments or [])]
    environ = environment(settings, endpoints, os.environ)
    raise typer.Exit(subprocess.run(command, env=environ, check=False).returncode)


def _order(
    home: Path, fault: str, equipment: str, duration_s: float | None, *, clear: bool, as_json: bool
) -> None:
    """Tell the running plant, and say what it struck."""
    from millrace.devices.commands import Command, order, orders_of

    faults = orders_of(fault, equipment=equipment, duration_s=duration_s) if fault else ()
    answer = order(home, Command(faults=faults, clear=clear))
    if as_json:
        import msgspec

        print_json({"cleared": clear, "struck": msgspec.to_builtins(answer.struck)})
        return
    if clear:
        typer.echo("everything that was broken is mended")
    for struck in answer.struck:
        tags = ", ".join(struck.tags[:5]) + " …" * (len(struck.tags) > 5)
        typer.echo(f"{struck.kind} from {iso(struck.start_us)} to {iso(struck.end_us)} on {tags}")
    if answer.struck and answer.plant_age_s < LEARNED_AFTER_S:
        typer.echo(
            f"The plant has been sending for {answer.plant_age_s:.0f} s. A detector that still learns a tag (its "
            "first 60 to 200 readings) takes this for normal: if nothing is found, --clear, wait some minutes, "
            "and break another."
        )
