"""Many small writes in one transaction: while one commit is on its way to the disk, the next ones gather."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The hub is stopping and takes nothing more."""


class Full(Exception):
    """More is waiting to be written than is good; nothing was kept of this one."""


class GroupCommit(Generic[T]):
    """One writer for everything that is put in; `put` returns when its item is durable.

    `commit` writes a batch in one transaction. When it fails, each of the batch is told; the next batch is tried anew.
    Items wait in lanes, each with `waiting` places of its own, and a batch takes from all lanes in turn: a flood in one
    lane fills that lane only, and another lane's item goes with the very next batch.
    """

    def __init__(
        self, commit: Callable[[list[T]], Awaitable[None]], *, batch: int = 1000, waiting: int = 5_000
    ) -> None:
        self._commit = commit
        self._batch = batch
        self._limit = waiting
        self._lanes: dict[str, deque[tuple[T, asyncio.Future[None]]]] = {}  # only those with something in them
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def waiting(self, lane: str = "") -> int:
        """How many items of a lane no batch has taken yet."""
        return len(self._lanes.get(lane, ()))

    async def put(self, item: T, lane: str = "") -> None:
        """Write it. Raises what the commit raised, Full, or Closed; then nothing is promised about it."""
        if self._closed:
            raise Closed
        if self.waiting(lane) >= self._limit:
            raise Full
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group-commit")
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(lane, deque()).append((item, durable))
        self._there.set()
        await durable

    async def close(self) -> None:
        """Write what is waiting, then end."""
        self._closed = True
        self._there.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._lanes or not self._closed:
            await self._there.wait()
            self._there.clear()
            while self._lanes:
                await self._write(self._take())

    def _take(self) -> list[tuple[T, asyncio.Future[None]]]:
        """The next batch: an equal share of each lane, and what is left of it to those that have more."""
        taken: list[tuple[T, asyncio.Future[None]]] = []
        while self._lanes and len(taken) < self._batch:
            share = max(1, (self._batch - len(taken)) // len(self._lanes))
            for name, lane in list(self._lanes.items()):
                count = min(share, len(lane), self._batch - len(taken))
                taken.extend(lane.popleft() for _ in range(count))
                del self._lanes[name]
                if lane:
                    self._lanes[name] = lane  # to the end of the line: next time the others come first
        return taken

    async def _write(self, batch: list[tuple[T, asyncio.Future[None]]]) -> None:
        try:
            await self._commit([item for item, _ in batch])
        except Exception as error:  # each waiter answers for itself; the writer lives on
            for _, durable in batch:
                if not durable.done():
                    durable.set_exception(error)
        else:
            for _, durable in batch:
                if not durable.done():
                    durable.set_result(None)
