"""What API Gateway says itself, in the words of the service: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from millrace_infra.edge.exposure import Hidden

MEDIA_TYPE: Final = "application/problem+json"
REASON: Final = "$context.error.messageString"
"""What API Gateway says, quotes included."""
VALIDATION: Final = '"$context.error.validationErrorString"'


@dataclass(frozen=True)
class GatewayProblem:
    """One type of gateway response. No status: API Gateway's own, which differs within the type."""

    kind: str
    status: int | None
    code: str
    title: str
    what_to_do: str
    detail: str = REASON
    retry_after_s: int = 0


NO_ROUTE: Final = "MISSING_AUTHENTICATION_TOKEN"
"""What API Gateway calls it when a path is none of its own. Source: API Gateway, gateway response types."""
SAME_AGAIN: Final = "send the same again, with the same identity: what was accepted is not counted twice"

PROBLEMS: Final = (
    GatewayProblem(NO_ROUTE, 404, "no_such_route", "Not found", "see the contract for what there is"),
    GatewayProblem("RESOURCE_NOT_FOUND", 404, "no_such_route", "Not found", "see the contract for what there is"),
    GatewayProblem("INVALID_API_KEY", 403, "no_api_key", "Not allowed", "send your key as x-api-key"),
    GatewayProblem("ACCESS_DENIED", 403, "access_denied", "Not allowed", "send your key as x-api-key"),
    GatewayProblem("WAF_FILTERED", 403, "filtered", "Not allowed",
                   "the firewall refused it: ask the operator with the request_id"),
    GatewayProblem("BAD_REQUEST_PARAMETERS", 400, "bad_parameter", "Bad request", "see the contract", VALIDATION),
    GatewayProblem("BAD_REQUEST_BODY", 400, "bad_body", "Bad request", "see the contract", VALIDATION),
    GatewayProblem("REQUEST_TOO_LARGE", 413, "body_too_large", "Too large", "send it in parts"),
    GatewayProblem("UNSUPPORTED_MEDIA_TYPE", 415, "unknown_format", "Unknown content type",
                   "compress with gzip or not at all; zstd only inside the network"),
    # a burst refills within a second; a quota at midnight UTC, so an hour is a fair time to ask again
    GatewayProblem("THROTTLED", 429, "too_many_requests", "Too many requests", SAME_AGAIN, retry_after_s=1),
    GatewayProblem("QUOTA_EXCEEDED", 429, "quota_exceeded", "Too many requests",
                   "ask the operator for a larger quota", retry_after_s=3600),
    GatewayProblem("INTEGRATION_TIMEOUT", 504, "too_slow", "Not available at the moment", SAME_AGAIN,
                   retry_after_s=1),
    GatewayProblem("INTEGRATION_FAILURE", 504, "not_reachable", "Not available at the moment", SAME_AGAIN,
                   retry_after_s=1),
    GatewayProblem("DEFAULT_4XX", None, "bad_request", "Bad request", "see the contract"),
    GatewayProblem("DEFAULT_5XX", None, "edge_failed", "Not available at the moment", SAME_AGAIN),
)  # fmt: skip


def gateway_responses(hidden: Mapping[str, Hidden]) -> dict[str, Any]:
    """The value of `x-amazon-apigateway-gateway-responses`. Who asks for a hidden path is told what to use instead."""
    return {problem.kind: _response(_with_instead(problem, hidden)) for problem in PROBLEMS}


def _with_instead(problem: GatewayProblem, hidden: Mapping[str, Hidden]) -> GatewayProblem:
    if problem.kind != NO_ROUTE:
        return problem
    said = [f"{path} is not offered here, {one.instead}" for path, one in hidden.items()]
    return replace(problem, what_to_do="; ".join([problem.what_to_do, *said]))


def _response(problem: GatewayProblem) -> dict[str, Any]:
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
    if problem.retry_after_s:
        headers["Retry-After"] = str(problem.retry_after_s)
    out: dict[str, Any] = {
        "responseParameters": {
            f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()
        },
        # the key is what API Gateway looks a template up by; the header above says what the body is
        "responseTemplates": {"application/json": _template(problem)},
    }
    return out if problem.status is None else {"statusCode": str(problem.status), **out}


def _template(problem: GatewayProblem) -> str:
    """JSON with places for API Gateway to fill; `detail` brings its own quotes."""
    said: dict[str, Any] = {"type": f"urn:millrace:problem:{problem.code}", "title": problem.title}
    if problem.status is not None:
        said["status"] = problem.status
    said |= {"code": problem.code, "what_to_do": problem.what_to_do, "request_id": "$context.requestId"}
    return json.dumps(said)[:-1] + f', "detail": {problem.detail}}}'
