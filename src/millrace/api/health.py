"""Whether this process lives, and whether it can do its work."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from millrace import telemetry
from millrace.api.dependencies import Dependencies, dependencies
from millrace.api.store import in_thread

router = APIRouter(tags=["health"])


@router.get("/v1/health/live", summary="The process answers")
async def health_live() -> dict[str, str]:
    return {"status": "live"}


@router.get(
    "/v1/health/ready", summary="All that it needs answers", responses={503: {"description": "Not ready"}}
)
async def health_ready(request: Request) -> Response:
    """200 when every check passes, else 503; each check by name."""
    needs = dependencies(request)
    checks = await in_thread(needs.queries, _checks, needs)
    ready = all(checks.values())
    body = {"status": "ready" if ready else "not_ready", "checks": checks}
    return Response(msgspec.json.encode(body), 200 if ready else 503, media_type="application/json")


def _checks(needs: Dependencies) -> dict[str, bool]:
    checks = {"live": needs.live.connected and needs.live.ready.is_set()}
    if needs.store is not None:
        checks["store"] = _works(lambda: bool(needs.store and needs.store.rows("SELECT 1 AS one")))
    return checks | {name: _works(check) for name, check in needs.ready_checks.items()}


def _works(check: Any) -> bool:
    try:
        return bool(check())
    except Exception:  # not ready, whatever the reason
        return False


@router.get("/metrics", summary="Counters for Prometheus", include_in_schema=False)
async def metrics(request: Request) -> Response:
    text = await in_thread(dependencies(request).queries, telemetry.exposition)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
