"""The running platform as a verb sees it: its settings, its addresses, its API."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.errors import MillraceError, SettingError, Unavailable

if TYPE_CHECKING:
    import httpx

    from millrace.local.endpoints import Endpoints
    from millrace.settings import Settings

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Data folder (MILLRACE_HOME, else ./.millrace).", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for scripts.")]


def settings_of(home: Path | None, **more: str) -> Settings:
    """Settings from the environment and the folder's file; options of the command line win."""
    from millrace.settings import load

    environ = dict(os.environ) | {f"MILLRACE_{name.upper()}": value for name, value in more.items()}
    if home is not None:
        environ["MILLRACE_HOME"] = str(home)
    return load(environ)


def running(home: Path | None) -> tuple[Settings, Endpoints]:
    """Settings that point at the running platform's servers, and its addresses."""
    from millrace.local import endpoints

    settings = settings_of(home)
    found = endpoints.need(settings.home)
    return endpoints.attached(settings, found), found


class ApiRefused(MillraceError):
    """The API's own words. A request that it calls bad was typed by somebody: exit code 2, as of any mistake in a
    command."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(problem(response))
        self.exit_code = 2 if response.status_code == 400 else MillraceError.exit_code


class Api:
    """The REST API of a running platform; errors come as one sentence."""

    def __init__(self, base_url: str, token: str, *, timeout_s: float = 30.0) -> None:
        import httpx

        if not token:
            raise SettingError(
                "MILLRACE_API_TOKEN", got="nothing", want="the token of the platform at " + base_url
            )
        if not base_url.startswith(("http://", "https://")):
            raise SettingError("--url", got=base_url, want="http://host:port, or https://…")
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            trust_env=False,
        )

    @classmethod
    def of(cls, home: Path | None) -> Api:
        """The one that runs on this data folder."""
        _, endpoints = running(home)
        return cls(endpoints.api_url, endpoints.token)

    def get(self, path: str, **query: Any) -> Any:
        return self._asked(
            "GET", path, params={name: value for name, value in query.items() if value is not None}
        )

    def post(self, path: str, body: Any) -> Any:
        return self._asked("POST", path, json=body)

    def put_readings(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """One body of readings, answered whatever the status; Unavailable when nothing answered."""
        import httpx

        said = {name.encode(): value.encode() for name, value in headers.items()}  # a text has to be ASCII
        try:
            return self._client.post("/v1/readings", content=body, headers=said)
        except httpx.HTTPError as error:
            raise Unavailable(f"the API at {self._client.base_url} does not answer: {error}") from None

    def _asked(self, method: str, path: str, **how: Any) -> Any:
        import httpx

        try:
            response = self._client.request(method, path, **how)
        except httpx.HTTPError as error:
            raise Unavailable(f"the API at {self._client.base_url} does not answer: {error}") from None
        if response.is_error:
            raise ApiRefused(response)
        return response.json()


def problem(response: httpx.Response) -> str:
    """What a problem+json answer says, in one line."""
    try:
        told = response.json()
    except ValueError:
        told = {}
    if not isinstance(told, dict):
        told = {}
    said = told.get("detail") or told.get("title") or response.reason_phrase
    advice = f". {told['what_to_do']}" if told.get("what_to_do") else ""
    return f"{response.status_code} {said}{advice}"


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
