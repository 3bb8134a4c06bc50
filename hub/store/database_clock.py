"""The database's clock, for all processes that share it: a lease means the same time to everybody."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.clock import Clock

_EVERY = 30.0  # seconds between two looks at the database's clock
_SLOWEST = 0.25  # seconds that an answer may take; a slower one tells the time less well than what we know

_NOW = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)")


class DatabaseClock:
    """Counts on from what the database said last, by this machine's monotonic clock.

    Machine A's clock is five minutes ahead of machine B's. By their own clocks, A would find every lease of B expired
    and take it away, and B would honour A's leases for five minutes after A's death. So both ask the database;
    somebody who sets a machine's clock changes nothing either.
    """

    def __init__(self, local: Clock) -> None:
        self._local = local
        self._behind: float | None = None  # milliseconds from the monotonic clock to the database's
        self._asked = 0.0

    def now(self) -> int:
        if self._behind is None:
            return self._local.now()
        return int(self._local.monotonic() * 1000 + self._behind)

    def monotonic(self) -> float:
        return self._local.monotonic()

    @property
    def stale(self) -> bool:
        """Whether it is time to look again."""
        return self._behind is None or self._local.monotonic() - self._asked >= _EVERY

    async def look(self, conn: AsyncConnection) -> None:
        """Ask the database for its time on this connection."""
        self._asked = asked = self._local.monotonic()
        theirs = float((await conn.execute(_NOW)).scalar_one())
        answered = self._local.monotonic()
        if self._behind is None or answered - asked <= _SLOWEST:
            self._behind = theirs - (asked + answered) / 2 * 1000
