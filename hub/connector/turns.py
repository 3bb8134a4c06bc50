"""Whose call goes first where several want the same: a person, then the flow that matters more, then what is new."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import count


@dataclass(frozen=True, slots=True)
class Standing:
    """On whose behalf a call is made. `priority` is the flow's (higher goes first), `bulk` its lane."""

    person: bool = False
    priority: int = 0
    bulk: bool = False

    @property
    def rank(self) -> tuple[bool, int, bool]:
        """Sorts first what goes first."""
        return not self.person, -self.priority, self.bulk


_STANDING: ContextVar[Standing] = ContextVar("standing", default=Standing())  # noqa: B039 - it can't be changed


def standing() -> Standing:
    """The standing of who calls now; tasks inherit it from who starts them."""
    return _STANDING.get()


@contextmanager
def for_person() -> Iterator[None]:
    """What is called in the block is called for a person who waits for it."""
    with _standing(replace(standing(), person=True)):
        yield


@contextmanager
def for_flow(priority: int, *, bulk: bool = False) -> Iterator[None]:
    """What is called in the block is called for a flow; a person who had it called keeps going first."""
    with _standing(replace(standing(), priority=priority, bulk=bulk)):
        yield


@contextmanager
def _standing(given: Standing) -> Iterator[None]:
    token = _STANDING.set(given)
    try:
        yield
    finally:
        _STANDING.reset(token)


class Turns:
    """`slots` callers at a time: `async with turns:`. Who waits goes by standing, among equals who came first."""

    def __init__(self, slots: int = 1) -> None:
        self._free = slots
        self._order = count()
        self._waiting: list[tuple[tuple[bool, int, bool], int, asyncio.Future[None]]] = []

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_how: object) -> None:
        self.release()

    async def acquire(self) -> None:
        """Wait for a turn. Who is cancelled while waiting has none."""
        if self._free > 0:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (standing().rank, next(self._order), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release()  # the turn came in the same moment: somebody else takes it
            raise

    def release(self) -> None:
        """Give the turn back: to the first of those who wait."""
        while self._waiting:
            *_, following = heapq.heappop(self._waiting)
            if not following.done():
                following.set_result(None)
                return
        self._free += 1
