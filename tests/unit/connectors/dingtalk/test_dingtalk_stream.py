"""Stream mode over real sockets: tickets, pings, acknowledgement after storing, redelivery, connections that end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from connectors.dingtalk.connector import DingTalkConnector
from connectors.dingtalk.settings import DingTalkSettings
from connectors.dingtalk.simulator import DingTalkSimulator
from hub.connector.contract import Pushed, Streams
from hub.connector.http import TransportFailure
from hub.connector.kit import Kit
from hub.connector.serving import serve
from hub.domain.errors import CredentialsRefused

EVENT = {"processInstanceId": "PI-1", "processCode": "PROC-DISCOUNT-0001", "type": "finish", "result": "agree"}


@pytest.fixture
async def served(simulator: DingTalkSimulator) -> AsyncIterator[DingTalkSimulator]:
    async with serve(simulator):
        yield simulator


@pytest.fixture
async def dial(served: DingTalkSimulator) -> AsyncIterator[Callable[..., DingTalkConnector]]:
    made: list[DingTalkConnector] = []

    def build(**chosen: Any) -> DingTalkConnector:
        settings = DingTalkSettings(**{**served.settings(), "events": "stream", **chosen})
        made.append(DingTalkConnector(settings, Kit.local("dingtalk", clock=served.clock)))
        return made[-1]

    yield build
    for connector in made:
        await connector.aclose()


async def until(look: Callable[[], Any]) -> None:
    ends = time.monotonic() + 20
    while not look():
        assert time.monotonic() < ends, "it never came"
        await asyncio.sleep(0.01)


class Listener:
    """Reads one connection in the background; `stored` says what becomes of each message."""

    def __init__(self, connector: DingTalkConnector, stored: Callable[[Pushed], bool] = lambda _: True) -> None:
        self.got: list[Pushed] = []
        self._stored = stored
        self.task = asyncio.create_task(self._listen(connector))

    async def _listen(self, connector: DingTalkConnector) -> None:
        async for pushed in connector.events():
            self.got.append(pushed)
            await pushed.acknowledge(self._stored(pushed))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_the_power_is_there_and_asked_for_by_the_settings(dial: Callable[..., DingTalkConnector]) -> None:
    connector = dial()
    assert isinstance(connector, Streams)
    assert connector.streams
    assert not dial(events="http").streams


async def test_an_event_is_acknowledged_by_whoever_stored_it(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    listener = Listener(dial())
    await until(lambda: served.streams.connections)
    served.push("bpms_instance_change", EVENT)
    await until(lambda: served.streams.acknowledged)
    (pushed,) = listener.got
    assert [(event.object, event.id) for event in pushed.received.events] == [("approval:discount", "PI-1")]
    assert pushed.received.dedupe == f"event:{served.streams.acknowledged[0]}"
    assert b"PI-1" in pushed.body
    ping, event = served.streams.connections[0].answers
    assert (ping["code"], ping["data"]) == (200, '{"opaque":"0-1"}')  # echoed unchanged
    assert (event["code"], event["data"]) == (200, '{"status":"SUCCESS","message":"ok"}')
    assert served.counts["login"] == 0  # the gateway takes the credentials, no token
    await listener.stop()


async def test_no_log_line_shows_the_ticket_or_what_an_event_says(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector], caplog: pytest.LogCaptureFixture
) -> None:
    tickets: list[str] = []
    opened = served.streams.open

    def remembering(body: dict[str, Any]) -> dict[str, Any]:
        answered = opened(body)
        tickets.append(answered["ticket"])
        return answered

    served.streams.open = remembering  # type: ignore[method-assign]
    with caplog.at_level(logging.DEBUG):
        listener = Listener(dial())
        await until(lambda: served.streams.connections)
        served.push("bpms_instance_change", {**EVENT, "title": "张伟提交的折扣审批"})
        await until(lambda: served.streams.acknowledged)
        await listener.stop()
    # The simulator's own side of the wire logs what it likes; the hub's side must not.
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("uvicorn", "websockets"))]
    assert tickets
    assert not [line for line in ours if tickets[0] in line or "张伟" in line]
    assert not [record for record in caplog.records if record.name == "websockets.client"]


async def test_what_could_not_be_stored_comes_again(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    tries: list[str] = []

    def third(pushed: Pushed) -> bool:
        tries.append(pushed.received.dedupe)
        return len(tries) == 3

    listener = Listener(dial(), third)
    await until(lambda: served.streams.connections)
    served.push("bpms_instance_change", EVENT)
    await until(lambda: served.streams.acknowledged)
    assert len(tries) == 3
    assert len(set(tries)) == 1  # the same event each time, by its key
    await listener.stop()


async def test_an_event_that_came_while_nobody_listened_waits_and_an_unanswered_one_too(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    connector = dial()
    stream = connector.events()
    opening = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await until(lambda: served.streams.connections)
    served.push("bpms_instance_change", EVENT)
    taken = await opening
    await served.streams.disconnect(polite=False)  # before it was acknowledged
    await until(lambda: not served.streams.connections)
    with pytest.raises(TransportFailure):
        await taken.acknowledge(True)
    await stream.aclose()  # type: ignore[attr-defined]
    served.push("user_modify_org", {"userId": ["lina"]})
    listener = Listener(connector)
    await until(lambda: len(served.streams.acknowledged) == 2)
    assert sorted(event.id for one in listener.got for event in one.received.events) == ["PI-1", "lina"]
    await listener.stop()


async def test_a_polite_end_ends_the_reading_and_a_rude_one_says_so(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    polite = Listener(dial())
    await until(lambda: served.streams.connections)
    await served.streams.disconnect()
    await asyncio.wait_for(polite.task, 20)
    rude = Listener(dial())
    await until(lambda: served.streams.connections)
    await served.streams.connections[0].socket.close(1011)
    with pytest.raises(TransportFailure, match="1011"):
        await asyncio.wait_for(rude.task, 20)


async def test_two_connections_share_the_events(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    listeners = [Listener(dial()), Listener(dial())]
    await until(lambda: len(served.streams.connections) == 2)
    for n in range(10):
        served.push("user_modify_org", {"userId": [f"u{n}"]})
    await until(lambda: len(served.streams.acknowledged) == 10)
    counts = [len(listener.got) for listener in listeners]
    assert sum(counts) == 10
    assert min(counts) > 0
    for listener in listeners:
        await listener.stop()


async def test_events_of_no_concern_are_acknowledged_so_that_they_stop_coming(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    listener = Listener(dial())
    await until(lambda: served.streams.connections)
    served.push("bpms_instance_change", {**EVENT, "processCode": "PROC-OF-SOMEBODY-ELSE"})
    served.gate.corp_id = "dinganother000001"
    served.push("bpms_instance_change", EVENT)
    await until(lambda: len(served.streams.acknowledged) == 2)
    assert [pushed.received.events for pushed in listener.got] == [[], []]
    await listener.stop()


async def test_frames_of_another_kind_are_not_ours_and_garbage_harms_nobody(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    listener = Listener(dial())
    await until(lambda: served.streams.connections)
    (connection,) = served.streams.connections
    for text in ("{", "[]", "null", '"x"', '{"type":"EVENT","headers":7,"data":"{"}', '{"type":"SYSTEM"}'):
        await connection.socket.send_text(text)
    await connection.send({"type": "CALLBACK", "headers": {"messageId": "c1", "topic": "/v1.0/im/bot/messages/get"}})
    served.push("bpms_instance_change", EVENT)
    await until(lambda: served.streams.acknowledged)
    codes = {one["headers"]["messageId"]: one["code"] for one in connection.answers}
    assert codes["c1"] == 404
    assert listener.got[-1].received.events
    await listener.stop()


async def test_wrong_credentials_and_a_used_ticket_are_refused(
    served: DingTalkSimulator, dial: Callable[..., DingTalkConnector]
) -> None:
    with pytest.raises(CredentialsRefused) as refused:
        await anext(dial(client_secret="not-the-secret").events())  # type: ignore[arg-type]
    assert refused.value.hint
    assert "not-the-secret" not in str(refused.value)
    served.streams.open = lambda _: {"endpoint": f"{served.base_url.replace('http', 'ws')}/connect", "ticket": "used"}  # type: ignore[method-assign]
    with pytest.raises(TransportFailure) as failure:
        await anext(dial().events())  # type: ignore[arg-type]
    assert "used" not in failure.value.message


async def test_a_gateway_that_is_not_there_is_a_failure_in_words(dial: Callable[..., DingTalkConnector]) -> None:
    with pytest.raises(TransportFailure, match="never left"):
        await anext(dial(base_url="http://127.0.0.1:9").events())  # type: ignore[arg-type]
