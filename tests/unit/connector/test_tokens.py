from __future__ import annotations

import asyncio

import pytest

from hub.connector.tokens import MemoryTokens, Token, TokenSource
from hub.domain.clock import ManualClock
from hub.domain.errors import CredentialsRefused


class Door:
    """A log-in that takes until it is let go on, and counts."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.logins = 0
        self.opens = asyncio.Event()
        self.opens.set()
        self.refuses = False

    async def __call__(self) -> Token:
        self.logins += 1
        await self.opens.wait()
        if self.refuses:
            raise CredentialsRefused("wrong")
        return Token(f"token-{self.logins}", self.clock.now() + 7_200_000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def door(clock: ManualClock) -> Door:
    return Door(clock)


@pytest.fixture
def source(clock: ManualClock, door: Door) -> TokenSource:
    return TokenSource(MemoryTokens(), clock, "erp:1", door, early=600)


async def test_many_callers_share_one_login(source: TokenSource, door: Door) -> None:
    tokens = await asyncio.gather(*(source.token() for _ in range(100)))
    assert {token.value for token in tokens} == {"token-1"}
    assert door.logins == 1


async def test_many_callers_share_one_refusal_and_a_later_one_tries_again(
    source: TokenSource, door: Door, clock: ManualClock
) -> None:
    door.refuses = True
    results = await asyncio.gather(*(source.token() for _ in range(100)), return_exceptions=True)
    assert all(isinstance(result, CredentialsRefused) for result in results)
    for _ in range(20):  # one after the other, as behind somebody's lock
        with pytest.raises(CredentialsRefused, match="wrong"):
            await source.token()
    assert door.logins == 1
    door.refuses = False
    clock.advance(30)
    assert (await source.token()).value == "token-2"


async def test_a_token_is_renewed_early(source: TokenSource, door: Door, clock: ManualClock) -> None:
    await source.token()
    clock.advance(6599)
    assert (await source.token()).value == "token-1"
    clock.advance(1)
    assert (await source.token()).value == "token-2"


async def test_only_that_very_token_is_dropped(source: TokenSource, door: Door) -> None:
    # Two workers had token 1. The first is refused, logs in again and has token 2; then the second is refused for
    # token 1 as well, and must not take token 2 away.
    old = await source.token()
    await source.invalidate(old)
    new = await source.token()
    await source.invalidate(old)
    assert (await source.token()) == new
    assert door.logins == 2


async def test_one_caller_who_gives_up_leaves_the_login_to_the_others(source: TokenSource, door: Door) -> None:
    door.opens.clear()
    first, second = (asyncio.ensure_future(source.token()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    door.opens.set()
    assert (await second).value == "token-1"
    assert door.logins == 1


async def test_a_login_that_nobody_waits_for_any_more_may_fail_quietly(source: TokenSource, door: Door) -> None:
    door.opens.clear()
    door.refuses = True
    caller = asyncio.ensure_future(source.token())
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    door.opens.set()
    door.refuses = False
    assert (await source.token()).value.startswith("token-")


async def test_sources_that_share_a_cache_share_the_login(clock: ManualClock, door: Door) -> None:
    cache = MemoryTokens()
    sources = [TokenSource(cache, clock, "erp:1", door) for _ in range(5)]
    await asyncio.gather(*(source.token() for source in sources))
    assert door.logins == 1


async def test_a_token_without_an_end_is_kept(clock: ManualClock) -> None:
    async def login() -> Token:
        return Token("for-ever", extra={"tenant": "t-secret"})

    source = TokenSource(MemoryTokens(), clock, "erp:1", login)
    token = await source.token()
    clock.advance(10**9)
    assert await source.token() is token
    assert "for-ever" not in repr(token)
    assert "t-secret" not in repr(token)
