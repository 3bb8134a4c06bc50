"""Conformance: webhooks, true and forged."""

from __future__ import annotations

from dataclasses import replace

from hub.connector.conformance.bench import Bench, broken, must
from hub.connector.contract import Received, Receives, WebhookRefused, WebhookRequest

_GARBAGE = (b"", b"{", b"null", b"[]", b'"x"', b"\xff" * 200, b"[" * 50_000, b'{"a":' * 50_000, b"a=1&b=2", b"<xml/>")


async def true_webhook_is_received(bench: Bench) -> None:
    """A true webhook MUST give the record that changed, and the reply that the vendor expects."""
    received = _receive(bench, _webhook(bench, "65aa17a9f318b90001726517"))
    events = [(event.object, event.id) for event in received.events]
    must((bench.object, "65aa17a9f318b90001726517") in events, f"the webhook's record is not among {events}")
    must(received.reply.status == 200 and received.dedupe, "it needs a good reply and a dedupe key")


async def forged_webhook_is_refused(bench: Bench) -> None:
    """A webhook that was tampered with or not signed MUST be refused."""
    request = _webhook(bench, "1")
    forgeries = bench.harness.forgeries(request)
    must(forgeries, "the harness forges nothing")
    for n, forged in enumerate((*forgeries, replace(request, body=b"{}", query={}, headers={}))):
        _refused(bench, forged, f"forgery {n}")


async def stale_webhook_is_refused(bench: Bench) -> None:
    """A webhook of another day MUST be refused, however well it is signed."""
    now = bench.simulator.clock.now()
    for away in (-86_400_000, 86_400_000):
        request = bench.harness.webhook(bench.simulator, bench.object, "1", at=now + away)
        _refused(bench, replace(request, received=now), f"a webhook {away / 3_600_000:+.0f} h away")


async def replayed_webhook_is_recognised(bench: Bench) -> None:
    """The same webhook again MUST have the same dedupe key, and another one another."""
    request = _webhook(bench, "1")
    first = _receive(bench, request).dedupe
    again = replace(request, received=request.received + 1000)
    must(_receive(bench, again).dedupe == first, "a replay has a dedupe key of its own")
    must(_receive(bench, _webhook(bench, "2")).dedupe != first, "two webhooks have the same dedupe key")


async def garbage_webhook_is_refused(bench: Bench) -> None:
    """Whatever arrives MUST be received or refused: nothing else may be raised."""
    request = _webhook(bench, "1")
    for garbage in _GARBAGE:
        _refused(bench, replace(request, body=garbage, query={}, headers={}), f"garbage {garbage[:10]!r}")
        try:
            _receive(bench, replace(request, body=garbage))
        except WebhookRefused as refusal:
            bench.show(refusal)


def _webhook(bench: Bench, id: str) -> WebhookRequest:
    return bench.harness.webhook(bench.simulator, bench.object, id, at=bench.simulator.clock.now())


def _receive(bench: Bench, request: WebhookRequest) -> Received:
    connector = bench.connector
    if not isinstance(connector, Receives):
        broken("the connector receives no webhooks; its manifest must exempt this case")
    return connector.receive(request)


def _refused(bench: Bench, request: WebhookRequest, what: str) -> None:
    try:
        _receive(bench, request)
    except WebhookRefused as refusal:
        bench.show(refusal)
        must(refusal.reason and 400 <= refusal.status < 500, f"{what} was refused without a reason or status")
    else:
        broken(f"{what} was received")
