"""The API: every route there is, what stands before them, and how errors leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from millrace import __version__
from millrace.api import events, health, history_route, problems, readings, rejects, stats, stream, tags
from millrace.api.auth import BearerToken
from millrace.api.dependencies import Dependencies
from millrace.api.known_parameters import only_known_parameters

ROUTERS = (
    readings.router,
    tags.router,
    history_route.router,
    events.router,
    rejects.router,
    stream.router,
    stats.router,
    health.router,
)


def create_app(needs: Dependencies) -> FastAPI:
    """The application over what it needs; the follower is started and stopped by whoever made it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        needs.queries.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Millrace",
        version=__version__,
        description=__doc__ or "",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to http://, whatever stood before us: whoever follows would show the token to all
        dependencies=[Depends(only_known_parameters)],
    )
    app.state.dependencies = needs
    app.state.stats = stats.StatsSampler(needs, needs.clock.now_us())
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(BearerToken, token=needs.token)
    return app
