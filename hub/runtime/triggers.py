"""When a flow is to run next: cron and interval by APScheduler's triggers, aware of time zones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from apscheduler.triggers.cron import CronTrigger

from hub.runtime.settings import FlowSettings
from hub.runtime.units import duration, zone

DEFAULT_EVERY = 300.0  # seconds, for a flow that names neither `every` nor `cron`


@dataclass(frozen=True, slots=True)
class Trigger:
    """An interval in seconds, or a cron expression in a time zone."""

    every: float | None = None
    cron: str | None = None
    tz: str = "UTC"

    def first(self, now: int) -> int:
        """When a schedule that is new begins: an interval at once, a cron at its next time. Epoch ms."""
        return now if self.every is not None else self.after(now, now)

    def after(self, due: int, now: int) -> int:
        """The first time after `now`, in step with `due`, the time that is over. Epoch ms.

        An interval keeps its beat: what was missed is skipped, so that a late run is made up for once.
        """
        if self.every is not None:
            step = max(1, int(self.every * 1000))
            return due + ((max(now, due) - due) // step + 1) * step
        # A cron time in the hour that a clock change repeats would come twice; APScheduler folds it.
        moment = datetime.fromtimestamp(now / 1000 + 0.001, UTC).astimezone(zone(self.tz))
        found: datetime | None = self._cron().get_next_fire_time(None, moment)
        return int(found.timestamp() * 1000) if found else now + 366 * 86_400_000

    def missed(self, due: int, now: int, limit: int = 1000) -> int:
        """How many later times than `due` are over already, up to `limit`."""
        if self.every is not None:
            return min(limit, max(0, now - due) // max(1, int(self.every * 1000)))
        count, at = 0, self.after(due, due)
        while at <= now and count < limit:
            count, at = count + 1, self.after(at, at)
        return count

    def _cron(self) -> CronTrigger:
        return CronTrigger.from_crontab(self.cron, timezone=zone(self.tz))

    def encode(self) -> str:
        """As it is kept in the store."""
        kept: dict[str, Any] = {"every": self.every} if self.every is not None else {"cron": self.cron, "tz": self.tz}
        return orjson.dumps(kept).decode()

    @classmethod
    def decode(cls, text: str) -> Trigger:
        return cls(**orjson.loads(text))

    def __str__(self) -> str:
        return f"every {duration(self.every)}" if self.every is not None else f"{self.cron} ({self.tz})"


def of_flow(settings: FlowSettings) -> dict[str, Trigger]:
    """The schedules that a flow has, by kind: `read`, and `sweep` once a day."""
    if settings.cron is not None:
        found = {"read": Trigger(cron=settings.cron, tz=settings.tz)}
    else:
        found = {"read": Trigger(every=settings.every or DEFAULT_EVERY)}
    if settings.sweep is not None:
        found["sweep"] = Trigger(cron=f"{settings.sweep.minute} {settings.sweep.hour} * * *", tz=settings.tz)
    return found
