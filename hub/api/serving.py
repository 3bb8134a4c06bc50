"""Puts the HTTP side of a service together: receivers, inbox, access and routes."""

from __future__ import annotations

from typing import Any

from hub.api import relay
from hub.api.access import Access
from hub.api.app import create_app
from hub.api.ingress import Ingress, Limits
from hub.api.protocol import bounded
from hub.api.relay import Outbox
from hub.connector.contract import Receives
from hub.runtime.hub import Hub
from hub.runtime.service import Service
from hub.runtime.signals import HINTS
from hub.store import inbox
from hub.sync.failpoints import failpoint


def app_of(service: Service) -> Any:
    """The ASGI app of a service that is about to listen."""
    hub = service.hub
    relays = service.relays
    wanted = set(hub.config.systems) if relays else _sources(hub)
    outbox = Outbox(hub.store)
    connectors = {name: hub.project.connector(name) for name in sorted(wanted)}
    receivers = {name: connector for name, connector in connectors.items() if isinstance(connector, Receives)}

    async def commit(messages: list[inbox.Message]) -> None:
        failpoint("before-store")
        if relays:
            await outbox.keep(messages)
        else:
            await inbox.receive(hub.store, messages)
            hub.signals.wake(HINTS)
        failpoint("after-store")

    settings = hub.config.api
    limits = Limits(settings.max_body, settings.hook_rate, 5 * settings.hook_rate, 5 * settings.hook_rate)
    ingress = Ingress(receivers, commit, hub.store.clock, limits=limits)
    access = Access(settings, service.owner_token)
    app = create_app(hub, ingress, access, service.reasons)
    if relays:
        app.include_router(relay.router(outbox, access, service.stopping))
    app.state.hooks = list(receivers)
    app.state.protocol = bounded(max_head=settings.max_head, within=settings.request_within)
    app.state.close = ingress.close
    return app


def _sources(hub: Hub) -> set[str]:
    """The systems whose webhooks a flow wants."""
    specs = hub.project.mappings().items()
    return {spec.source.system for name, spec in specs if hub.config.flows[name].settings.webhooks}
