"""Systems that are left alone: what this process has noticed is told to the others, and to people."""

from __future__ import annotations

from hub.domain.clock import iso
from hub.runtime.hub import Hub
from hub.store import rests
from hub.store.rests import Rest

EVERY = 2.0  # seconds between two looks
_WOBBLE = 1000  # milliseconds: a trial's time is counted down, never twice the same to the millisecond


class Rests:
    """Compares breakers and spent quotas of this process with what the store says of them.

    What others have noticed makes this process quick to believe it: the first failure of its own opens its breaker,
    instead of the fifth. It is not believed unseen, for it may be their network that is broken.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._told: dict[tuple[str, str], Rest] = {}

    async def look(self) -> dict[str, str]:
        """One look. Returns why which system is left alone by this process, in words. Raises StoreError."""
        store = self._hub.store
        mine = self._mine(store.clock.now())
        news = [one for key, one in mine.items() if self._differs(one, self._told.get(key))]
        ended = [key for key in self._told if key not in mine]
        if news:
            await rests.put(store, news)
        if ended:
            await rests.end(store, ended)
        self._told = mine
        if store.dialect == "postgresql":
            down = {one.system for one in await rests.listing(store) if one.kind == "down"}
            for name, system in self._hub.project.opened.items():
                system.breaker.suspected = name in down
        return {f"system {one.system}": sentence(one) for one in mine.values()}

    def _mine(self, now: int) -> dict[tuple[str, str], Rest]:
        found = {}
        for name, system in self._hub.project.opened.items():
            for kind, held in (("down", system.breaker.down), ("quota", system.breaker.resting)):
                if held is not None:
                    until, reason = held
                    before = self._told.get((name, kind))
                    found[name, kind] = Rest(name, kind, reason, before.since if before else now, until)
        return found

    def _differs(self, one: Rest, before: Rest | None) -> bool:
        return before is None or one.reason != before.reason or abs(one.until - before.until) > _WOBBLE


def sentence(rest: Rest) -> str:
    """Why the system is left alone, and until when."""
    if rest.kind == "quota":
        return f"{rest.system} rests: {rest.reason}"
    words = f" ({rest.reason})" if rest.reason else ""
    return f"{rest.system} does not answer{words}; it is tried again at {iso(rest.until)}"
