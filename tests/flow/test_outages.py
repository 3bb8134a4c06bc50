"""The ground gives way: database, disk, connections, clock. Nothing is lost, people are told, it goes on by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from hub.domain.clock import SystemClock
from hub.runtime.service import Service
from hub.store.engine import Store
from hub.store.errors import StoreBusy
from tests.conftest import POSTGRES
from tests.flow.house import House, house, states, until


class Database:
    """A database of its own on the test server, with a user who is nobody special."""

    def __init__(self) -> None:
        self.name = f"t_{uuid.uuid4().hex[:12]}"
        at = make_url(POSTGRES)
        self.url = at.set(database=self.name, username=self.name, query={}).render_as_string(hide_password=False)

    def say(self, *statements: str) -> None:
        with psycopg.connect(POSTGRES, autocommit=True) as admin:
            for statement in statements:
                admin.execute(statement.format(name=self.name))  # type: ignore[arg-type]

    def disconnect(self) -> None:
        """As a server that is restarted does to all of its clients."""
        self.say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    made.say(
        "CREATE ROLE {name} LOGIN PASSWORD 'x'",
        "CREATE DATABASE {name} OWNER {name}",
    )
    yield made
    made.say("DROP DATABASE {name} WITH (FORCE)", "DROP ROLE {name}")


async def arrived(shop: House, service: Service, count: int) -> None:
    """All customers stand in the ERP, each once, and the ledger rests."""
    await until(lambda: len(set(shop.customers("a"))) == count, seconds=100, why=service.reasons)

    async def at_rest() -> bool:
        return await states(service.hub, "to-a") == {"done": count}

    await until(at_rest, seconds=60, why=service.reasons)
    assert shop.customers("a") == [f"T{at:04d}" for at in range(count)]
    await until(lambda: not service.reasons(), seconds=60, why=service.reasons)


def telling(service: Service, words: str) -> Callable[[], bool]:
    return lambda: any(words in why for why in service.reasons())


async def test_postgres_is_restarted_in_mid_run(tmp_path: Path, database: Database) -> None:
    async with house(tmp_path, erps="a", store_url=database.url) as shop:
        await shop.sell_to(60)
        async with shop.running() as service:
            for count in (1, 25):
                await until(lambda: len(shop.customers("a")) >= count, why=service.reasons)  # noqa: B023
                database.disconnect()
            # Away for longer: nobody is let in until it is back.
            database.say("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            database.disconnect()
            await shop.sell_to(10, begin=60)
            await until(telling(service, "can't be used"), why=service.reasons)
            assert "password" not in " ".join(service.reasons()).lower()
            database.say("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            await arrived(shop, service, 70)


async def test_the_database_has_no_connection_left(tmp_path: Path, database: Database) -> None:
    async with house(tmp_path, erps="a", store_url=database.url) as shop:
        await shop.sell_to(5)
        async with shop.running() as service:
            await until(lambda: len(shop.customers("a")) == 5, why=service.reasons)
            database.say("ALTER ROLE {name} CONNECTION LIMIT 0")
            database.disconnect()
            await shop.sell_to(15, begin=5)
            await until(telling(service, "it has no free connection for us"), why=service.reasons)
            database.say("ALTER ROLE {name} CONNECTION LIMIT -1")
            await arrived(shop, service, 20)


async def test_all_connections_of_the_process_are_in_use(postgres_url: str) -> None:
    store = await Store.open(postgres_url)
    pool = store._writer.pool
    pool._timeout = 0.2  # type: ignore[attr-defined]
    go, held = asyncio.Event(), []

    async def hold() -> None:
        async with store.begin() as conn:
            held.append(conn)
            await go.wait()

    holding = [asyncio.create_task(hold()) for _ in range(pool.size())]  # type: ignore[attr-defined]
    await until(lambda: len(held) == len(holding))
    with pytest.raises(StoreBusy, match="all connections are in use") as caught:
        async with store.begin():
            pass
    assert caught.value.hint == "run it again, or run fewer workers"
    go.set()
    await asyncio.gather(*holding)
    async with store.begin() as conn:
        assert (await conn.exec_driver_sql("SELECT 1")).scalar() == 1
    await store.close()


async def test_the_disk_is_full(tmp_path: Path) -> None:
    async with house(tmp_path, erps="a") as shop:
        await shop.sell_to(3)
        async with shop.running() as service:
            await until(lambda: len(shop.customers("a")) == 3, why=service.reasons)
            store = service.hub.store
            async with store.begin() as conn:  # not one page more than there is
                await conn.exec_driver_sql("PRAGMA max_page_count = 1")
            await shop.sell_to(60, begin=3)
            await until(telling(service, "the disk is full"), why=service.reasons)
            ready = await asyncio.to_thread(httpx.get, f"{service.url}/health/ready", trust_env=False)
            assert ready.status_code == 503
            assert "the disk is full" in ready.text
            # Somebody makes room.
            async with store.begin() as conn:
                await conn.exec_driver_sql("PRAGMA max_page_count = 1073741823")
            await arrived(shop, service, 63)


class SetBack(SystemClock):
    """A machine's clock that somebody sets back."""

    def __init__(self) -> None:
        self.back = 0

    def now(self) -> int:
        return super().now() - self.back


async def test_the_clock_is_set_back_an_hour(tmp_path: Path) -> None:
    clock = SetBack()
    async with house(tmp_path, erps="a") as shop:
        await shop.sell_to(3)
        async with shop.running(clock) as service:
            await until(lambda: len(shop.customers("a")) == 3, why=service.reasons)
            clock.back = 3_600_000
            # What is new arrives now, not in an hour; what changes is not taken for older than what was read before.
            await shop.sell_to(3, begin=3)
            account = next(iter(shop.crm.table("AccountObj")))
            change = {"op": "update", "object": "AccountObj", "id": account["_id"], "fields": {"tel": "021-2"}}
            await shop.crm.change(change)
            await arrived(shop, service, 6)
            await until(lambda: _phones(shop)[str(account["tax_no__c"])] == "021-2")
        # Nor does a start with the clock as it is now make anything wait.
        async with shop.running(clock) as service:
            await shop.sell_to(2, begin=6)
            await arrived(shop, service, 8)


def _phones(shop: House) -> dict[str, str]:
    return {str(row["FTAXREGISTERCODE"]): str(row["FTEL"]) for row in shop.erps["a"].table("BD_Customer")}
