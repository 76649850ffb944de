"""Errors as `application/problem+json` (RFC 9457): the field, what was found and wanted, what to do."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from millrace import telemetry
from millrace.errors import MillraceError, ProtocolError, Unavailable
from millrace.wanted import in_words

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Ambiguous",
    413: "Too large",
    415: "Unknown content type",
    422: "Bad request",
    429: "Too many requests",
    431: "Too large",
    500: "A fault of ours",
    503: "Not available at the moment",
}
log = telemetry.logger(__name__)
_json = msgspec.json.Encoder()


class Problem(MillraceError):
    """An answer that is not the wanted one."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str = "",
        found: object = None,
        wanted: str = "",
        what_to_do: str = "",
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = headers or {}
        self.body: dict[str, Any] = {
            "type": f"urn:millrace:problem:{code}",
            "title": TITLES.get(status, "Problem"),
            "status": status,
            "code": code,
            "detail": detail,
        }
        named = {"field": field, "found": _shown(found), "wanted": wanted, "what_to_do": what_to_do}
        self.body |= {key: value for key, value in named.items() if value not in ("", None)} | (more or {})

    def response(self) -> Response:
        return Response(_json.encode(self.body), self.status, self.headers, MEDIA_TYPE)


def _shown(value: object) -> object:
    """A value as an error shows it: short."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "…"


def bad_parameter(field: str, found: object, wanted: str) -> Problem:
    """A parameter that cannot be used."""
    return Problem(
        400,
        "bad_parameter",
        f"{field}: found {_shown(found)!r}, wanted {wanted}",
        field=field,
        found=found,
        wanted=wanted,
    )


def unauthorized(detail: str) -> Problem:
    return Problem(
        401,
        "unauthorized",
        detail,
        wanted="Authorization: Bearer <token>",
        what_to_do="use MILLRACE_API_TOKEN, or the token that was printed at the first start",
        headers={"WWW-Authenticate": 'Bearer realm="millrace"'},
    )


def store_away(what: str) -> Problem:
    return unavailable(f"{what} does not answer at the moment")


def unavailable(detail: str) -> Problem:
    return Problem(
        503,
        "store_unavailable",
        detail,
        what_to_do="try again in a moment",
        headers={"Retry-After": "1"},
    )


def install(app: FastAPI) -> None:
    """Turn every error into a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(MillraceError, _ours)
    app.add_exception_handler(psycopg.DataError, _unstorable)
    app.add_exception_handler(Exception, _fault)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return bad_parameter(field, first.get("input"), in_words(first)).response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    hint = "see /openapi.json for what there is"
    headers = dict(error.headers or {})
    return Problem(error.status_code, code, str(error.detail), what_to_do=hint, headers=headers).response()


async def _ours(request: Request, error: Exception) -> Response:
    if isinstance(error, ProtocolError):
        status = 413 if error.reason in {"compression_bomb", "record_too_large", "too_many_readings"} else 400
        return Problem(status, error.reason, error.detail).response()
    if isinstance(error, Unavailable):
        return unavailable(str(error)).response()
    return await _fault(request, error)


async def _unstorable(request: Request, error: Exception) -> Response:
    """A NUL, a number too large: nothing that PostgreSQL holds can be equal to it."""
    problem = Problem(
        400, "bad_parameter", str(error).splitlines()[0], wanted="text and numbers that a tag can have"
    )
    return problem.response()


async def _fault(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path[:200], exc_info=error)
    return Problem(500, "internal", "the request failed; the log of the API says why").response()
