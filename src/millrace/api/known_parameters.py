"""Query parameters that a route does not know are refused: ignored, a mistyped `form=` would answer another question
than was asked, and look like an answer.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from millrace.api.problems import bad_parameter
from millrace.errors import nearest


async def only_known_parameters(request: Request) -> None:
    """For each route; asynchronous, so that it costs no thread."""
    if not request.query_params:
        return
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = _declared(route.dependant)
    for name in request.query_params:
        if name not in known:
            wanted = f"one of {', '.join(known)}{nearest(name, known)}" if known else "no parameter"
            raise bad_parameter(name, request.query_params[name], wanted)


def _declared(needed: Dependant) -> list[str]:
    """Of a route and of what it depends on."""
    deeper = (name for one in needed.dependencies for name in _declared(one))
    return [*(field.alias for field in needed.query_params), *deeper]
