"""Log-ins that processes share through the store, sealed."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from hub.connector.tokens import Token, TokenSource
from hub.domain.clock import ManualClock
from hub.domain.errors import CredentialsRefused, StoreError
from hub.store import rests
from hub.store.engine import Store
from hub.store.rests import Rest
from hub.store.tokens import StoredTokens

KEY = SecretStr("a key that is long enough for anybody")


class Vendor:
    """Counts log-ins; each gives another token for an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.logins = 0

    async def log_in(self) -> Token:
        self.logins += 1
        mine = self.logins
        await asyncio.sleep(0)
        return Token(f"secret-token-{mine}", self.clock.now() + 3_600_000, {"tenant": "secret-cookie"})


def process(store: Store, clock: ManualClock, vendor: Vendor, key: SecretStr = KEY) -> TokenSource:
    return TokenSource(StoredTokens(store, key), clock, "crm:app", vendor.log_in)


async def test_two_workers_that_need_a_log_in_at_once_make_one(store: Store, clock: ManualClock) -> None:
    vendor = Vendor(clock)
    # Processes of one machine have no memory in common: each has a cache of its own.
    if store.dialect == "postgresql":
        sources = [process(store, clock, vendor) for _ in range(4)]
    else:
        sources = [process(store, clock, vendor)] * 4
    tokens = await asyncio.gather(*(one.token() for one in sources))
    assert {(one.value, one.extra["tenant"]) for one in tokens} == {("secret-token-1", "secret-cookie")}
    assert vendor.logins == 1


async def test_a_restart_needs_no_new_log_in_and_a_refused_token_is_fetched_anew_once(
    store: Store, clock: ManualClock
) -> None:
    vendor = Vendor(clock)
    first = process(store, clock, vendor)
    old = await first.token()
    second = process(store, clock, vendor)
    assert await second.token() == old
    # The vendor ends it early. The first to notice logs in; the other one, which still holds it, takes the new one.
    await first.invalidate(old)
    fresh = await first.token()
    await second.invalidate(old)
    assert (await second.token()).value == fresh.value == "secret-token-2"
    clock.advance(3600)
    assert (await second.token()).value == (await first.token()).value == "secret-token-3"


async def test_no_secret_stands_in_the_database_in_clear(store: Store, clock: ManualClock) -> None:
    await process(store, clock, Vendor(clock)).token()
    async with store.read() as conn:
        rows = (await conn.execute(text("SELECT * FROM token"))).all()
    [row] = rows
    assert "secret" not in str(row)
    assert KEY.get_secret_value() not in str(row)


async def test_another_key_opens_nothing_and_logs_in_anew(store: Store, clock: ManualClock) -> None:
    vendor = Vendor(clock)
    await process(store, clock, vendor).token()
    other = process(store, clock, vendor, SecretStr("another key that is long enough too"))
    assert (await other.token()).value == "secret-token-2"


async def test_a_store_that_is_away_costs_a_log_in_and_nothing_more(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vendor = Vendor(clock)
    source = process(store, clock, vendor)

    def away() -> object:
        raise StoreError("the store does not answer")

    monkeypatch.setattr(store, "begin", away)
    monkeypatch.setattr(store, "read", away)
    token = await source.token()
    assert await source.token() is token
    await source.invalidate(token)
    assert (await source.token()).value == "secret-token-2"
    assert "the store does not answer" in caplog.text
    assert "secret" not in caplog.text


async def test_a_log_in_that_fails_lets_the_others_try(store: Store, clock: ManualClock) -> None:
    async def refused() -> Token:
        raise CredentialsRefused("wrong password")

    with pytest.raises(CredentialsRefused):
        await TokenSource(StoredTokens(store, KEY), clock, "crm:app", refused).token()
    assert (await process(store, clock, Vendor(clock)).token()).value == "secret-token-1"


async def test_who_notices_that_a_system_is_away_tells_the_others(store: Store, clock: ManualClock) -> None:
    down = Rest("erp", "down", "no answer within 60 s", clock.now(), clock.now() + 15_000)
    quota = Rest("crm", "quota", "calls of the day", clock.now(), clock.now() + 20_000)
    await rests.put(store, [down, quota])
    clock.advance(10)
    again = Rest("erp", "down", "connection refused", clock.now(), clock.now() + 30_000)
    await rests.put(store, [again])
    assert await rests.listing(store) == [
        quota,
        Rest("erp", "down", "connection refused", down.since, again.until),
    ]
    clock.advance(11)
    assert [one.system for one in await rests.listing(store)] == ["erp"]  # a quota is over when its time is
    await rests.end(store, [("erp", "down")])
    assert await rests.listing(store) == []
    await rests.put(store, [down])
    clock.advance(100)
    assert await rests.listing(store) == []  # who noticed it is gone: nobody renews it
