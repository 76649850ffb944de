"""`millrace up`: the whole platform on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.cli.platform import HomeOption, settings_of


def up(
    home: HomeOption = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate/--no-simulate",
            help="With a simulated plant of 10,000 tags that joins the asset model and sends readings.",
        ),
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Port of the API (MILLRACE_API_PORT, else 8080).", show_default=False)
    ] = None,
    dashboard_port: Annotated[
        int | None,
        typer.Option(help="Port of the live page (MILLRACE_DASHBOARD_PORT, else 8081).", show_default=False),
    ] = None,
) -> None:
    """Start the whole platform; it runs until Ctrl-C.

    Servers, workers, API and live page. It prints the page's address and the token, then one line of figures.
    The next start on the same data folder goes on from there.
    """
    from millrace import telemetry
    from millrace.local.supervisor import Supervisor

    more = {"api_port": port, "dashboard_port": dashboard_port}
    settings = settings_of(home, **{name: str(value) for name, value in more.items() if value is not None})
    telemetry.set_up_logs(level=settings.log_level, json_lines=settings.log_json, service="supervisor")
    raise typer.Exit(Supervisor(settings, simulate=simulate).run())
