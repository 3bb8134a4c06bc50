"""The hub's HTTP side: webhooks, health, and the operations with their OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import Route

from hub.api.access import Access
from hub.api.ingress import Ingress
from hub.api.problems import install
from hub.api.routes import router
from hub.runtime.hub import Hub
from hub.runtime.operations import OPERATIONS


class Health(BaseModel):
    """`ready` says whether the hub does its work; `reasons` why not."""

    ready: bool
    reasons: list[str] = []


def create_app(hub: Hub, ingress: Ingress, access: Access, reasons: Callable[[], list[str]]) -> FastAPI:
    """The ASGI app. `reasons` tells why the hub is not ready; an empty list when it is."""
    app = FastAPI(
        title="CRM integration hub",
        version=version("crm-integration-hub"),
        description="Read and steer the hub. Webhooks come in at `/hooks/{system}`.",
        docs_url="/docs",
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    install(app)
    # Before everything else, and outside FastAPI's own machinery: webhooks come by the thousand.
    app.router.routes.insert(0, Route("/hooks/{system}", ingress))
    app.include_router(router(OPERATIONS, hub, access))

    @app.get("/health/live", tags=["health"], summary="The process answers.")
    async def live() -> Health:
        return Health(ready=True)

    @app.get("/health/ready", tags=["health"], summary="The hub does its work: 200, or 503 with the reasons.")
    async def ready(response: Response) -> Health:
        why = reasons()
        response.status_code = 503 if why else 200
        return Health(ready=not why, reasons=why)

    return app
