"""The side door of a simulator (`/_sim/`): faults, ground truth, clock, people's edits, seeds."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.connector.faults import Fault

if TYPE_CHECKING:
    from hub.connector.simulator import Simulator

_PAGE = 10_000


def side_door(simulator: Simulator) -> Starlette:
    """The app behind `/_sim/` of one simulator."""
    door = _Door(simulator)
    return Starlette(
        routes=[
            Route("/_sim/faults", door.list_faults, methods=["GET"]),
            Route("/_sim/faults", door.arm, methods=["POST"]),
            Route("/_sim/faults", door.disarm, methods=["DELETE"]),
            Route("/_sim/records", door.records, methods=["GET"]),
            Route("/_sim/journal", door.journal, methods=["GET"]),
            Route("/_sim/clock", door.clock, methods=["GET", "POST"]),
            Route("/_sim/change", door.change, methods=["POST"]),
            Route("/_sim/bulk", door.bulk, methods=["POST"]),
            Route("/_sim/settings", door.settings, methods=["GET"]),
            Route("/_sim/counts", door.counts, methods=["GET"]),
            Route("/_sim/callback", door.callback, methods=["POST"]),
        ],
        exception_handlers={ValueError: _refused, ValidationError: _refused, KeyError: _refused},
    )


class _Door:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def list_faults(self, _request: Request) -> Response:
        return _json({"faults": self._simulator.faults.listed(), "struck": self._simulator.faults.struck})

    async def arm(self, request: Request) -> Response:
        """One fault or a list of them."""
        given = await request.json()
        for fault in [Fault.model_validate(each) for each in (given if isinstance(given, list) else [given])]:
            self._simulator.faults.arm(fault)
        return _json({"faults": self._simulator.faults.listed()})

    async def disarm(self, _request: Request) -> Response:
        self._simulator.faults.clear()
        return _json({"faults": []})

    async def records(self, request: Request) -> Response:
        """`?object=&after=&limit=`: records in the order of their ids; without `object` how many there are of each."""
        name = request.query_params.get("object")
        if name is None:
            return _json({"objects": {name: len(table) for name, table in self._simulator.tables.items()}})
        limit = int(request.query_params.get("limit", _PAGE))
        rows = list(islice(self._simulator.table(name).after(request.query_params.get("after")), limit))
        return _json({"records": rows, "more": len(rows) == limit})

    async def journal(self, request: Request) -> Response:
        """`?since=&limit=`: what was committed after that sequence number."""
        since = int(request.query_params.get("since", 0))
        limit = int(request.query_params.get("limit", _PAGE))
        entries = self._simulator.journal[since : since + limit]
        return _json({"entries": [entry.json() for entry in entries], "next": since + len(entries)})

    async def clock(self, request: Request) -> Response:
        """`{"advance": seconds}` or `{"set": epoch_ms}`."""
        if request.method == "POST":
            given = await request.json()
            if "set" in given:
                self._simulator.clock.set(int(given["set"]))
            self._simulator.clock.advance(float(given.get("advance", 0)))
        return _json({"now": self._simulator.clock.now()})

    async def change(self, request: Request) -> Response:
        return _json(await self._simulator.change(await request.json()))

    async def bulk(self, request: Request) -> Response:
        """`{"object": ..., "records": [...]}`."""
        given = orjson.loads(await request.body())
        return _json({"count": await self._simulator.bulk(given["object"], given["records"])})

    async def settings(self, _request: Request) -> Response:
        return _json(self._simulator.settings())

    async def counts(self, _request: Request) -> Response:
        return _json(dict(self._simulator.counts))

    async def callback(self, request: Request) -> Response:
        """`{"url": ...}`: where callbacks go; null stops them."""
        self._simulator.callback_url = (await request.json())["url"]
        return _json({"url": self._simulator.callback_url})


async def _refused(_request: Request, error: Exception) -> Response:
    return Response(orjson.dumps({"error": str(error)}), status_code=400, media_type="application/json")


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
