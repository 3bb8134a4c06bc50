"""Puts the HTTP side of a service together: receivers, inbox, access and routes."""

from __future__ import annotations

from typing import Any

from hub.api.access import Access
from hub.api.app import create_app
from hub.api.ingress import Ingress
from hub.connector.contract import Receives
from hub.runtime.service import Service
from hub.runtime.signals import HINTS
from hub.store import inbox
from hub.sync.failpoints import failpoint


def app_of(service: Service) -> Any:
    """The ASGI app of a service that is about to listen."""
    hub = service.hub
    wanted = {
        spec.source.system for name, spec in hub.project.mappings().items() if hub.config.flows[name].settings.webhooks
    }
    connectors = {name: hub.project.connector(name) for name in sorted(wanted)}
    receivers = {name: connector for name, connector in connectors.items() if isinstance(connector, Receives)}

    async def commit(messages: list[inbox.Message]) -> None:
        failpoint("before-store")
        await inbox.receive(hub.store, messages)
        failpoint("after-store")
        hub.signals.wake(HINTS)

    settings = hub.config.api
    ingress = Ingress(receivers, commit, hub.store.clock, max_body=settings.max_body)
    app = create_app(hub, ingress, Access(settings, service.owner_token), service.reasons)
    app.state.hooks = list(receivers)
    app.state.close = ingress.close
    return app
