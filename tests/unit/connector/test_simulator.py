from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hub.connector.faults import Fault, FaultKind, Faults
from hub.connector.serving import Running, serve
from hub.connector.simulator import Simulator, answer


class Shelf(Simulator):
    """The smallest vendor: puts what it is sent on a shelf."""

    callback_retries = (0.0, 0.0)

    def __init__(self) -> None:
        super().__init__()
        self.live = True

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/put", self._put, methods=["POST"]), Route("/get/{id}", self._get)]

    def settings(self) -> dict[str, Any]:
        return {"url": self.base_url}

    async def change(self, change: Mapping[str, Any]) -> dict[str, Any]:
        if change["op"] != "update":
            raise ValueError("people only update here")
        self.commit("update", "thing", change["id"], dict(change["fields"]), actor="person")
        self.call_back(b'{"id": "1"}', {"x-sign": "s"})
        return {"id": change["id"]}

    def expire_tokens(self) -> None:
        self.live = False

    async def _put(self, request: Request) -> Response:
        record = await request.json()
        entry = self.commit("create", "thing", record["id"], {**record, "at": self.stamp()})
        return answer({"seq": entry.seq, "live": self.live})

    async def _get(self, request: Request) -> Response:
        return answer({"found": self.shown("thing", request.path_params["id"])})


@pytest.fixture
async def shelf() -> AsyncIterator[Running]:
    async with serve(Shelf()) as running:
        yield running


@pytest.fixture
async def client(shelf: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=shelf.base_url, trust_env=False, timeout=5.0) as client:
        yield client


async def arm(client: httpx.AsyncClient, kind: str, **more: Any) -> None:
    assert (await client.post("/_sim/faults", json={"kind": kind, **more})).status_code == 200


async def put(client: httpx.AsyncClient, id: str = "1", **how: Any) -> httpx.Response:
    return await client.post("/put", json={"id": id}, **how)


async def committed(shelf: Running) -> int:
    return len(shelf.simulator.journal)


@pytest.mark.parametrize(
    ("kind", "commits"),
    [("reset", 0), ("reset_after_commit", 1), ("truncated", 1)],
)
async def test_cut_connections(shelf: Running, client: httpx.AsyncClient, kind: str, commits: int) -> None:
    await arm(client, kind, path="^/put$")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await put(client)
    assert await committed(shelf) == commits
    assert (await put(client, "2")).status_code == 200


async def test_a_reset_is_a_real_one(shelf: Running) -> None:
    shelf.simulator.faults.arm(Fault(kind=FaultKind.RESET))
    reader, writer = await asyncio.open_connection("127.0.0.1", shelf.port)
    writer.write(b"POST /put HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_half_an_answer_announces_all_of_it(shelf: Running) -> None:
    shelf.simulator.faults.arm(Fault(kind=FaultKind.TRUNCATED))
    reader, writer = await asyncio.open_connection("127.0.0.1", shelf.port)
    writer.write(b'POST /put HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n{"id":"11"}')
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    announced = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert 0 < len(body) == announced // 2
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_silence_lasts_until_the_client_gives_up(shelf: Running, client: httpx.AsyncClient) -> None:
    await arm(client, "answer_lost_after_commit")
    with pytest.raises(httpx.ReadTimeout):
        await put(client, timeout=0.2)
    assert await committed(shelf) == 1


async def test_a_commit_may_come_after_its_answer_was_lost(shelf: Running, client: httpx.AsyncClient) -> None:
    await arm(client, "commit_after_answer_lost", seconds=0.1)
    with pytest.raises(httpx.ReadError):
        await put(client)
    assert await committed(shelf) == 0
    async with asyncio.timeout(5):
        while not await committed(shelf):  # noqa: ASYNC110 - another process would not have the event either
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "status", "commits"),
    [("throttle", 429, 0), ("http_500", 500, 0), ("http_500_after_commit", 500, 1), ("malformed", 200, 1)],
)
async def test_answers_that_are_none(
    shelf: Running, client: httpx.AsyncClient, kind: str, status: int, commits: int
) -> None:
    await arm(client, kind, retry_after=3)
    found = await put(client)
    assert found.status_code == status
    assert found.headers.get("retry-after") == ("3" if kind == "throttle" else None)
    assert await committed(shelf) == commits


async def test_tokens_end_before_the_call(client: httpx.AsyncClient) -> None:
    await arm(client, "expire_token")
    assert (await put(client)).json()["live"] is False


async def test_faults_choose_their_calls(client: httpx.AsyncClient) -> None:
    await arm(client, "http_500", path="put", body='"id":\\s*"2"', skip=1, times=2)
    statuses = [(await put(client, id)).status_code for id in ("2", "1", "2", "1", "2", "2")]
    assert statuses == [200, 200, 500, 200, 500, 200]
    assert (await client.get("/_sim/faults")).json()["struck"] == {"http_500": 2}
    await arm(client, "http_500", times=None)
    await client.delete("/_sim/faults")
    assert (await put(client)).status_code == 200


def test_chance_can_be_replayed() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults()
        faults.arm(Fault(kind=FaultKind.RESET, times=None, probability=0.3, seed=seed))
        return [faults.next(path="/", op="", body=b"") is not None for _ in range(200)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 30 < sum(strikes(1)) < 90


async def test_lasting_faults_show_the_past(shelf: Running, client: httpx.AsyncClient) -> None:
    await put(client)
    await arm(client, "stale_get", seconds=60)
    await arm(client, "find_lag", seconds=60)
    await arm(client, "late_stamp", seconds=60)
    assert (await client.get("/get/1")).json() == {"found": None}
    assert not shelf.simulator.findable("thing", "1")
    assert shelf.simulator.clock.now() - shelf.simulator.stamp() == pytest.approx(60_000, abs=50)
    await client.post("/_sim/clock", json={"advance": 61})
    assert (await client.get("/get/1")).json()["found"]["id"] == "1"
    assert shelf.simulator.findable("thing", "1")


async def test_the_journal_is_the_truth(client: httpx.AsyncClient) -> None:
    seeds = [{"id": str(n)} for n in range(5)]
    assert (await client.post("/_sim/bulk", json={"object": "thing", "records": seeds})).json() == {"count": 5}
    await put(client, "9")
    await client.post("/_sim/change", json={"op": "update", "id": "9", "fields": {"id": "9", "a": 1}})
    found = (await client.get("/_sim/journal", params={"since": 5})).json()
    told = [(e["op"], e["actor"], e["id"], e["before"] is not None) for e in found["entries"]]
    assert told == [("create", "api", "9", False), ("update", "person", "9", True)]
    assert found["next"] == 7
    records = (await client.get("/_sim/records", params={"object": "thing", "after": "3", "limit": 2})).json()
    assert [record["id"] for record in records["records"]] == ["4", "9"]
    assert (await client.get("/_sim/records")).json() == {"objects": {"thing": 6}}


async def test_the_side_door_refuses_in_words(client: httpx.AsyncClient) -> None:
    found = await client.post("/_sim/change", json={"op": "create"})
    assert (found.status_code, found.json()) == (400, {"error": "people only update here"})
    assert (await client.post("/_sim/faults", json={"kind": "earthquake"})).status_code == 400


async def test_the_clock_moves(shelf: Running, client: httpx.AsyncClient) -> None:
    await client.post("/_sim/clock", json={"set": 1_600_000_000_000, "advance": 10})
    now = (await client.get("/_sim/clock")).json()["now"]
    assert now == pytest.approx(1_600_000_010_000, abs=2_000)
    assert (await client.get("/_sim/settings")).json() == {"url": shelf.base_url}


class Ear(Shelf):
    """Hears the callbacks of another shelf; refuses the first."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.refuse = 1

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/hook", self._hook, methods=["POST"])]

    async def _hook(self, request: Request) -> Response:
        if self.refuse:
            self.refuse -= 1
            return answer({}, 503)
        await self.heard.put(request.headers["x-sign"].encode() + await request.body())
        return answer({})


async def test_callbacks_are_repeated_until_they_are_taken(shelf: Running, client: httpx.AsyncClient) -> None:
    ear = Ear()
    async with serve(ear) as listening:
        await client.post("/_sim/callback", json={"url": f"{listening.base_url}/hook"})
        change = {"op": "update", "id": "1", "fields": {"id": "1"}}
        await client.post("/_sim/change", json=change)
        async with asyncio.timeout(5):
            assert await ear.heard.get() == b's{"id": "1"}'
            await arm(client, "callback_lost")
            await client.post("/_sim/change", json=change)
            await arm(client, "callback_twice")
            await client.post("/_sim/change", json=change)
            assert [await ear.heard.get(), await ear.heard.get()] == [b's{"id": "1"}'] * 2
        assert ear.heard.empty()
        assert shelf.simulator.faults.struck == {"callback_lost": 1, "callback_twice": 1}


async def test_a_simulator_that_closes_lets_hanging_calls_go(client: httpx.AsyncClient) -> None:
    other = Shelf()
    other.faults.arm(Fault(kind=FaultKind.ANSWER_LOST_AFTER_COMMIT))
    other.faults.arm(Fault(kind=FaultKind.SLOW, seconds=60))
    async with asyncio.timeout(5):
        async with serve(other) as running:
            calls = [asyncio.ensure_future(client.post(f"{running.base_url}/put", json={"id": "1"})) for _ in range(2)]
            while sum(other.faults.struck.values()) < 2:  # noqa: ASYNC110 - nothing tells of a strike
                await asyncio.sleep(0.01)
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, httpx.TransportError) for result in results)
