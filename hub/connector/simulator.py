"""The base of every vendor simulator: an ASGI app with a real store, a journal, a movable clock, faults on demand."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import httpx
import orjson
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from hub.connector.faults import Fault, FaultKind, Faults
from hub.connector.sidedoor import side_door
from hub.connector.table import Entry, Row, Table
from hub.connector.wire import abort, hang, read_body, send_response
from hub.domain.clock import SystemClock

_GARBAGE = '{"data": [<html>Bad Gateway</html>'


class SimulatorClock:
    """The vendor's own clock: the machine's, moved by as much as it was told."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._moved = 0

    def now(self) -> int:
        return self._system.now() + self._moved

    def monotonic(self) -> float:
        return self._system.monotonic() + self._moved / 1000

    def advance(self, seconds: float) -> None:
        self._moved += int(seconds * 1000)

    def set(self, now: int) -> None:
        self._moved = now - self._system.now()


class Simulator(ABC):
    """A vendor's system on a desk.

    A subclass gives `routes` (the vendor's protocol), `settings`, `change`, `expire_tokens` and, where the vendor has
    words of its own for them, `throttled` and `failed`. It writes through `commit` only, so that the journal is the
    truth, and serves whole requests: handlers return a Starlette Response.
    """

    callback_retries: Sequence[float] = (1.0, 5.0, 30.0)  # seconds between the attempts of a callback

    def __init__(self) -> None:
        self.clock = SimulatorClock()
        self.tables: dict[str, Table] = {}
        self.journal: list[Entry] = []
        self.faults = Faults()
        self.counts: Counter[str] = Counter()  # calls by op, log-ins under 'login'
        self.callback_url: str | None = None
        self.base_url = ""  # known once it is served
        self._latest: dict[tuple[str, str], Entry] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    # -- what a subclass gives ------------------------------------------------------------------------------------

    @abstractmethod
    def routes(self) -> Sequence[BaseRoute]:
        """The vendor's paths."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What a client needs: base URL (`self.base_url`), made-up credentials, callback secrets; JSON."""

    @abstractmethod
    async def change(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """A person's edit in the vendor's own screens: {op, object, id?, fields?, actor?, operation?}.

        Goes through the vendor's own rules: stamps move, callbacks fire. Returns {'id': ...}. Raises ValueError with a
        sentence.
        """

    @abstractmethod
    def expire_tokens(self) -> None:
        """End every token and session now."""

    def op_of(self, method: str, path: str, body: bytes) -> str:
        """The name of a call for faults and counts: by default its path."""
        return path

    def table(self, object: str) -> Table:
        """The table of an object; a subclass may declare its indexes here on first use."""
        return self.tables.setdefault(object, Table())

    async def bulk(self, object: str, records: Sequence[Row]) -> int:
        """Seed records as they stand, quickly; each needs its id under `id_of`. Returns how many."""
        for record in records:
            self.commit("seed", object, self.id_of(object, record), record, actor="seed")
        return len(records)

    def id_of(self, object: str, record: Row) -> str:
        return str(record["id"])

    def throttled(self, retry_after: float | None) -> Response:
        """The vendor's 'too many calls'."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        return PlainTextResponse("Too Many Requests", status_code=429, headers=headers)

    def failed(self) -> Response:
        """The vendor's internal error."""
        return PlainTextResponse("Internal Server Error", status_code=500)

    # -- what a subclass uses -------------------------------------------------------------------------------------

    def commit(self, op: str, object: str, id: str, after: Row | None, *, actor: str = "api") -> Entry:
        """Write one record (None: take it out) and journal it."""
        table = self.table(object)
        before = table.drop(id) if after is None else table.put(id, after)
        entry = Entry(len(self.journal) + 1, self.clock.now(), actor, op, object, id, before, after)
        self.journal.append(entry)
        self._latest[object, id] = entry
        return entry

    def stamp(self) -> int:
        """Epoch milliseconds to stamp a change with (an armed late_stamp makes it old)."""
        return self.clock.now() - int(self.faults.lasting(FaultKind.LATE_STAMP) * 1000)

    def shown(self, object: str, id: str) -> Row | None:
        """The record as a read shows it: its state before the latest commit while an armed stale_get says so."""
        entry = self._recent(FaultKind.STALE_GET, object, id)
        return entry.before if entry is not None else self.table(object).get(id)

    def findable(self, object: str, id: str) -> bool:
        """Whether searches see this record already (an armed find_lag hides what was committed just now)."""
        return self._recent(FaultKind.FIND_LAG, object, id) is None

    def call_back(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a callback to `callback_url` in the background, again after `callback_retries` until it is answered."""
        if self.callback_url is None:
            return
        fault = self.faults.callback()
        kind = fault.kind if fault else None
        if kind is FaultKind.CALLBACK_LOST:
            return
        delay = fault.seconds if fault is not None and kind is FaultKind.CALLBACK_LATE else 0.0
        for _ in range(2 if kind is FaultKind.CALLBACK_TWICE else 1):
            self.spawn(self._deliver(self.callback_url, body, dict(headers or {}), delay))

    def callback_content(self, body: bytes, attempt: int) -> bytes:
        """What goes out at this attempt (from 0), where the vendor signs or counts each one anew."""
        return body

    def callback_address(self, url: str, content: bytes) -> str:
        """Where this content goes, for vendors that put a signature into the query."""
        return url

    def callback_given_up(self, body: bytes) -> None:
        """What the vendor does with a callback that nobody answered: here nothing."""
        return

    def callback_accepted(self, response: httpx.Response) -> bool:
        """Whether the receiver's reply is the one the vendor expects."""
        return response.status_code == 200

    def spawn(self, work: Any) -> None:
        """Run a coroutine in the background; it ends with the simulator."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def aclose(self) -> None:
        """Let hanging calls go and end what runs in the background."""
        self._closing.set()
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # -- ASGI -----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._routes(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/_sim/"):
            await self._side_door(scope, receive, send)
            return
        body = await read_body(receive)
        op = self.op_of(scope["method"], path, body)
        self.counts[op] += 1
        fault = self.faults.next(path=path, op=op, body=body)
        if fault is None:
            await send_response(send, await self._answer(scope, body))
        else:
            await self._strike(fault, scope, body, receive, send)

    async def _strike(self, fault: Fault, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        match fault.kind:
            case FaultKind.RESET:
                await abort(receive)
            case FaultKind.COMMIT_AFTER_ANSWER_LOST:
                self.spawn(self._later(fault.seconds, scope, body))
                await abort(receive)
            case FaultKind.RESET_AFTER_COMMIT:
                await self._answer(scope, body)
                await abort(receive)
            case FaultKind.ANSWER_LOST_AFTER_COMMIT:
                await self._answer(scope, body)
                await hang(receive, self._closing)
            case FaultKind.TRUNCATED:
                await send_response(send, await self._answer(scope, body), cut=True)
                await abort(receive)
            case FaultKind.MALFORMED:
                await self._answer(scope, body)
                await send_response(
                    send, await _messages(PlainTextResponse('{"data": [<html>Bad Gateway</html>'), scope)
                )
            case FaultKind.ECHO:
                said = f"{scope['method']} {scope['path']}?{scope['query_string']} {scope['headers']} {body!r}"
                await send_response(send, await _messages(PlainTextResponse(said), scope))
            case FaultKind.THROTTLE:
                await send_response(send, await _messages(self.throttled(fault.retry_after), scope))
            case FaultKind.HTTP_500:
                await send_response(send, await _messages(self.failed(), scope))
            case FaultKind.HTTP_500_AFTER_COMMIT:
                await self._answer(scope, body)
                await send_response(send, await _messages(self.failed(), scope))
            case FaultKind.EXPIRE_TOKEN:
                self.expire_tokens()
                await send_response(send, await self._answer(scope, body))
            case FaultKind.SLOW:
                if await self._closed_within(fault.seconds):
                    await abort(receive)
                else:
                    await send_response(send, await self._answer(scope, body))
            case _:
                raise ValueError(f"{fault.kind} does not strike calls")

    async def _closed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def _later(self, seconds: float, scope: Scope, body: bytes) -> None:
        await asyncio.sleep(seconds)
        await self._answer(scope, body)

    async def _answer(self, scope: Scope, body: bytes) -> list[Message]:
        """Let the vendor's routes answer, and keep the answer back: a fault may still lose it."""
        messages: list[Message] = []
        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._routes(scope, receive, send)
        return messages

    @cached_property
    def _routes(self) -> Starlette:
        return Starlette(routes=list(self.routes()))

    @cached_property
    def _side_door(self) -> Starlette:
        return side_door(self)

    # -- inner ----------------------------------------------------------------------------------------------------

    def _recent(self, kind: FaultKind, object: str, id: str) -> Entry | None:
        seconds = self.faults.lasting(kind)
        entry = self._latest.get((object, id)) if seconds else None
        return entry if entry is not None and self.clock.now() - entry.at < seconds * 1000 else None

    async def _deliver(self, url: str, body: bytes, headers: dict[str, str], delay: float) -> None:
        await asyncio.sleep(delay)
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            for attempt, pause in enumerate((*self.callback_retries, None)):
                try:
                    content = self.callback_content(body, attempt)
                    address = self.callback_address(url, content)
                    if self.callback_accepted(await client.post(address, content=content, headers=headers)):
                        self.counts["callback_accepted"] += 1
                        return
                except httpx.HTTPError:
                    self.counts["callback_unanswered"] += 1
                if pause is not None:
                    await asyncio.sleep(pause)
        self.callback_given_up(body)


async def _messages(response: Response, scope: Scope) -> list[Message]:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        messages.append(message)

    await response(scope, receive, send)
    return messages


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, as handlers give it."""
    content = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    return Response(content, status_code=status, headers=dict(headers or {}), media_type="application/json")
