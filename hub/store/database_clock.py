"""The database's clock, for all processes that share it: a lease means the same time to everybody."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.clock import Clock

_EVERY = 30.0  # seconds between two looks at the database's clock

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
        """Ask the database for its time on this connection.

        It told it at some instant between our question and its answer. As long as what we believed fits that, it
        stays: time must not go back and forth with how long an answer takes.
        """
        self._asked = asked = self._local.monotonic()
        theirs = float((await conn.execute(_NOW)).scalar_one())
        least, most = theirs - self._local.monotonic() * 1000, theirs - asked * 1000
        self._behind = (least + most) / 2 if self._behind is None else min(max(self._behind, least), most)
