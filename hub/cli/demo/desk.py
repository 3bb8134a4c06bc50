"""A simulator as a process of its own, and its side door: seeds, people's edits, faults, ground truth."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import orjson

from hub.domain.errors import HubError

Row = dict[str, Any]

_HUB = "from hub.cli.main import main; main()"
_START = 30.0  # seconds that a simulator may take to listen
_PAGE = 5_000


class Desk:
    """One running simulator. Nothing here goes through the vendor's API: these are the people who work there."""

    def __init__(self, name: str, base_url: str, settings: Mapping[str, Any], client: httpx.AsyncClient) -> None:
        self.name = name
        self.base_url = base_url
        self.settings = settings
        self._client = client
        self._journal: list[Row] = []

    async def seed(self, object: str, records: Sequence[Row]) -> None:
        """Put records in as they stand; nobody is told."""
        await self._post("bulk", {"object": object, "records": records})

    async def person(self, op: str, object: str, id: str | None = None, **more: Any) -> dict[str, Any]:
        """A person's edit at the screen: stamps move, and callbacks fire."""
        done: dict[str, Any] = await self._post("change", {"op": op, "object": object, "id": id, **more})
        return done

    async def call_back(self, url: str | None) -> None:
        await self._post("callback", {"url": url})

    async def arm(self, faults: Sequence[Mapping[str, Any]]) -> None:
        await self._post("faults", faults)

    async def disarm(self) -> dict[str, int]:
        """Take the faults away; how often each kind has struck since the simulator started."""
        struck: dict[str, int] = (await self._get("faults"))["struck"]
        (await self._client.delete(f"{self.base_url}/_sim/faults")).raise_for_status()
        return struck

    async def turn_clock(self, seconds: float) -> None:
        """Put the system's own clock forward, or back."""
        await self._post("clock", {"advance": seconds})

    async def counts(self) -> dict[str, int]:
        """Calls by name, and callbacks by what became of them."""
        counted: dict[str, int] = await self._get("counts")
        return counted

    async def records(self, object: str) -> list[Row]:
        """All live records of an object."""
        found: list[Row] = []
        params: dict[str, Any] = {"object": object, "limit": _PAGE}
        while True:
            page = await self._get("records", params)
            found += page["records"]
            if not page["more"]:
                return found
            params["after"] = _id(found[-1])

    async def journal(self) -> list[Row]:
        """Every committed write, in order. What was fetched before is not fetched again."""
        while True:
            page = await self._get("journal", {"since": len(self._journal), "limit": _PAGE})
            if not page["entries"]:
                return self._journal
            self._journal += page["entries"]

    async def _get(self, what: str, params: Mapping[str, Any] | None = None) -> Any:
        answer = await self._client.get(f"{self.base_url}/_sim/{what}", params=params)
        return _answer(self.name, answer)

    async def _post(self, what: str, body: Any) -> Any:
        answer = await self._client.post(f"{self.base_url}/_sim/{what}", content=orjson.dumps(body))
        return _answer(self.name, answer)


def _id(row: Row) -> str:
    return str(next(row[name] for name in ("_id", "FID", "FCUSTID", "FMATERIALID") if name in row))


def _answer(name: str, answer: httpx.Response) -> Any:
    if answer.status_code != 200:
        raise HubError(f"The simulator {name} refused a person's edit: {answer.text}")
    return orjson.loads(answer.content)


@contextlib.asynccontextmanager
async def desk(name: str, *options: str) -> AsyncIterator[Desk]:
    """Start `hub sim NAME --settings` with these options; it ends with the block. Raises HubError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HUB, "sim", name, "--settings", *options),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the demo, which then ends its simulators in order
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START):
            line = await process.stdout.readline()
        if not line:
            raise HubError(f"The simulator {name} did not start.", hint=f"try it alone: hub sim {name}")
        told = orjson.loads(line)
        async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client:
            yield Desk(name, told["base_url"], told["settings"], client)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
