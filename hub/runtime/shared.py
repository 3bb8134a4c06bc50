"""What the connectors of all processes have in common: budgets, log-ins, a clock that never steps back."""

from __future__ import annotations

import asyncio
import logging

from hub.connector.breaker import Breaker
from hub.connector.kit import Kit
from hub.connector.limits import Paused, Usage
from hub.connector.tokens import MemoryTokens, TokenCache
from hub.domain.clock import SteadyClock
from hub.domain.errors import StoreError
from hub.runtime.config import Config
from hub.store.engine import Store
from hub.store.shared_budgets import SharedBudgets
from hub.store.tokens import StoredTokens

log = logging.getLogger("hub.project")


class Shared:
    """Makes the kits of a project whose store is open."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._reserve = config.budgets.reserve
        key = config.store.key
        self._tokens: TokenCache = MemoryTokens() if key is None else StoredTokens(store, key)
        self._budgets: dict[str, SharedBudgets] = {}

    def kit(self, system: str, connector: str, breaker: Breaker) -> Kit:
        """The kit of one system. Its flows rest when a quota is spent."""
        clock = self._store.clock
        budgets = SharedBudgets(
            self._store, system, connector=connector, reserve=self._reserve, paused=_resting(system, breaker)
        )
        self._budgets[system] = budgets
        return Kit.local(
            system,
            clock=clock,
            # A signature tells the vendor what the machine's clock says, also after it was put right.
            wall=clock.wall if isinstance(clock, SteadyClock) else clock,
            tokens=self._tokens,
            budgets=budgets,
            breaker=breaker,
        )

    async def usage(self, system: str) -> list[Usage]:
        """How much of each quota is used."""
        found = self._budgets.get(system)
        return await found.usage() if found is not None else []

    async def aclose(self) -> None:
        """Give back what was taken of budgets and not used."""
        ended = await asyncio.gather(*(one.aclose() for one in self._budgets.values()), return_exceptions=True)
        for error in ended:
            if isinstance(error, StoreError):
                log.warning("what is left of a budget could not be given back: %s", error.message)
            elif isinstance(error, BaseException):
                raise error


def _resting(system: str, breaker: Breaker) -> Paused:
    def rest(until: int, reason: str) -> None:
        if breaker.resting is None:
            log.warning("%s rests: %s", system, reason)
        breaker.rest(until, reason)

    return rest
