"""Many small writes in one transaction: while one commit is on its way to the disk, the next ones gather."""

from __future__ import annotations

import asyncio
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
    """

    def __init__(
        self, commit: Callable[[list[T]], Awaitable[None]], *, batch: int = 1000, waiting: int = 20_000
    ) -> None:
        self._commit = commit
        self._batch = batch
        self._limit = waiting
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def put(self, item: T) -> None:
        """Write it. Raises what the commit raised, Full, or Closed; then nothing is promised about it."""
        if self._closed:
            raise Closed
        if len(self._waiting) >= self._limit:
            raise Full
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group-commit")
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, durable))
        self._there.set()
        await durable

    async def close(self) -> None:
        """Write what is waiting, then end."""
        self._closed = True
        self._there.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._waiting or not self._closed:
            await self._there.wait()
            self._there.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
                await self._write(batch)

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
