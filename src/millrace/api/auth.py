"""One bearer token in front of everything but health and the API's own description."""

from __future__ import annotations

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from millrace import telemetry
from millrace.api.problems import unauthorized

INGEST_PATH = "/v1/readings"
OPEN_PATHS = frozenset({"/v1/health/live", "/v1/health/ready", "/openapi.json"})


class BearerToken:
    """Pure ASGI, so that streams pass through untouched. Compares in constant time."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            said = dict(scope["headers"]).get(b"authorization", b"")
            scheme, _, token = said.partition(b" ")
            if not self._token or scheme.lower() != b"bearer" or not hmac.compare_digest(token, self._token):
                found = "no Authorization header" if not said else "a token that is not ours"
                problem = unauthorized(found)
                if scope["path"] == INGEST_PATH:
                    telemetry.refused(problem.code)
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)
