"""What the hub hands to a connector beside its settings."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import httpx

from hub.connector.breaker import Breaker
from hub.connector.http import Http, Sleep
from hub.connector.limits import Budgets, LocalBudgets
from hub.connector.tokens import MemoryTokens, Token, TokenCache, TokenSource
from hub.domain.clock import Clock, SystemClock


@dataclass(slots=True)
class Kit:
    """Everything from the outside world that a connector may use: `ConnectorClass(settings, kit)`.

    `system` is the connection's name; `clock` tells the time and never steps back, `wall` what a machine's clock shows,
    for signatures that a vendor compares with its own; `sleep` waits (seconds) by the same time; `breaker` is the
    system's; `transport` replaces the network in tests.
    """

    system: str
    clock: Clock
    tokens: TokenCache
    budgets: Budgets
    wall: Clock
    sleep: Sleep = asyncio.sleep
    breaker: Breaker | None = None
    transport: httpx.AsyncBaseTransport | None = None
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("hub.connector"))
    _https: list[Http] = field(default_factory=list, repr=False)
    _hidden: str = field(default="", repr=False)

    @classmethod
    def local(
        cls,
        system: str,
        *,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        tokens: TokenCache | None = None,
        budgets: Budgets | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: Breaker | None = None,
        wall: Clock | None = None,
    ) -> Kit:
        """A kit that lives in this process alone, as far as it is given nothing that is shared."""
        clock = clock or SystemClock()
        return cls(
            system=system,
            clock=clock,
            tokens=tokens or MemoryTokens(),
            budgets=budgets or LocalBudgets(clock, sleep=sleep),
            wall=wall or clock,
            sleep=sleep,
            breaker=breaker,
            transport=transport,
            logger=logging.getLogger(f"hub.connector.{system}"),
        )

    def http(
        self,
        base_url: str,
        *,
        secrets: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        max_body: int = 64 * 1024 * 1024,
        connections: int = 20,
        proxy: str | None = None,
        verify: bool | ssl.SSLContext = True,
    ) -> Http:
        """A client for this system. Its owner closes it."""
        made = Http(
            base_url,
            clock=self.clock,
            logger=self.logger,
            sleep=self.sleep,
            secrets=secrets,
            headers=headers,
            timeout=timeout,
            max_body=max_body,
            connections=connections,
            proxy=proxy,
            verify=verify,
            transport=self.transport,
            breaker=self.breaker,
        )
        self._https.append(made)
        return made

    def token_source(self, account: str, login: Callable[[], Awaitable[Token]], *, early: float = 300.0) -> TokenSource:
        """Tokens of one `account` of this system; `login` fetches a new one, `early` is seconds before its end."""
        return TokenSource(self.tokens, self.clock, f"{self.system}:{account}", login, early=early, seen=self._hide)

    def _hide(self, token: Token) -> None:
        """A token that another process fetched is as secret as one of our own."""
        if token.value != self._hidden:
            for http in self._https:
                http.hide(token.value)
            self._hidden = token.value
