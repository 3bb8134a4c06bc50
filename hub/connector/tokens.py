"""Log-ins shared by everyone who needs one: cached, renewed early, by one caller at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from hub.domain.clock import Clock
from hub.domain.errors import CredentialsRefused


@dataclass(frozen=True, slots=True)
class Token:
    """What a log-in gave. `expires_at` is epoch milliseconds (None: until it is refused); `extra` is what came along
    (a tenant, a cookie). Neither value nor extra show in a repr."""

    value: str = field(repr=False)
    expires_at: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)


class TokenCache(Protocol):
    """Where tokens are kept: in memory, or in the store for all processes of the fleet."""

    async def get(self, key: str) -> Token | None: ...

    async def put(self, key: str, token: Token) -> None: ...

    async def drop(self, key: str, value: str) -> None:
        """Forget the token under `key`, only if it is still that very one."""
        ...

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """Held by the one who logs in, over all who share the cache."""
        ...


class MemoryTokens:
    """The cache of one process."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, key: str) -> Token | None:
        return self._tokens.get(key)

    async def put(self, key: str, token: Token) -> None:
        self._tokens[key] = token

    async def drop(self, key: str, value: str) -> None:
        held = self._tokens.get(key)
        if held is not None and held.value == value:
            del self._tokens[key]

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        return self._locks.setdefault(key, asyncio.Lock())


class TokenSource:
    """Gives the token of one account.

    Many callers that find it old share one log-in and its result, also when it fails: a hundred workers with a wrong
    password make one attempt, not a hundred that lock the account. For the same reason refused credentials are not
    tried again for `pause` seconds, whoever asks. `early` is how many seconds before its end a token is renewed.
    `seen` is told each token that is given out.
    """

    def __init__(
        self,
        cache: TokenCache,
        clock: Clock,
        key: str,
        login: Callable[[], Awaitable[Token]],
        *,
        early: float = 300.0,
        pause: float = 30.0,
        seen: Callable[[Token], None] | None = None,
    ) -> None:
        self._seen = seen
        self._cache = cache
        self._clock = clock
        self._key = key
        self._login = login
        self._early = int(early * 1000)
        self._pause = pause
        self._flight: asyncio.Task[Token] | None = None
        self._refused: tuple[CredentialsRefused, float] | None = None  # and until when, in monotonic seconds

    async def token(self) -> Token:
        """A token that is good for now. Raises what the log-in raised."""
        token = await self._token()
        if self._seen is not None:
            self._seen(token)
        return token

    async def _token(self) -> Token:
        held = await self._cache.get(self._key)
        if held is not None and self._fresh(held):
            return held
        if self._refused is not None and self._clock.monotonic() < self._refused[1]:
            raise CredentialsRefused(self._refused[0].message, hint=self._refused[0].hint)
        if self._flight is None:
            self._flight = asyncio.get_running_loop().create_task(self._renew())
            self._flight.add_done_callback(self._landed)
        # Shielded: one caller that is cancelled must not take the log-in away from the others.
        return await asyncio.shield(self._flight)

    async def invalidate(self, token: Token) -> None:
        """The system refused this token. A newer one that somebody else fetched meanwhile stays."""
        await self._cache.drop(self._key, token.value)

    async def _renew(self) -> Token:
        async with self._cache.lock(self._key):
            held = await self._cache.get(self._key)
            if held is not None and self._fresh(held):
                return held  # another process was faster
            try:
                token = await self._login()
            except CredentialsRefused as refusal:
                self._refused = refusal, self._clock.monotonic() + self._pause
                raise
            await self._cache.put(self._key, token)
            return token

    def _fresh(self, token: Token) -> bool:
        return token.expires_at is None or self._clock.now() < token.expires_at - self._early

    def _landed(self, flight: asyncio.Task[Token]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # seen by the waiters; looked at here in case none is left
