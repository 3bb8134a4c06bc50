"""Opening, transactions, errors in words, the lock, upgrades."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, text

from hub.domain.errors import StoreError
from hub.store import bulk, cursors
from hub.store.engine import Store
from hub.store.errors import ConstraintBroken, StoreNewer, StoreUnreachable
from hub.store.lock import FileLock, StoreLocked, holder_of
from hub.store.tables import cursor, metadata, system

COLUMNS = ("flow", "stream", "position", "updated")


async def count(store: Store) -> int:
    async with store.read() as conn:
        return int((await conn.execute(select(func.count()).select_from(cursor))).scalar_one())


async def test_a_write_is_kept_and_a_failed_one_is_not(store: Store) -> None:
    async with store.begin() as conn:
        await bulk.insert(conn, cursor, COLUMNS, [("f", "a", "{}", 1)])
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with store.begin() as conn:
            await bulk.insert(conn, cursor, COLUMNS, [("f", "b", "{}", 1)])
            raise ZeroDivisionError
    assert await count(store) == 1


async def test_a_reader_does_not_see_nor_wait_for_what_is_not_committed(store: Store) -> None:
    async with store.begin() as conn:
        await bulk.insert(conn, cursor, COLUMNS, [("f", "a", "{}", 1)])
        assert await asyncio.wait_for(count(store), 5) == 0
    assert await count(store) == 1


async def test_what_is_written_on_a_read_is_not_kept(store: Store) -> None:
    with contextlib.suppress(StoreError):  # SQLite refuses it at once
        async with store.read() as conn:
            await bulk.insert(conn, cursor, COLUMNS, [("f", "a", "{}", 1)])
    assert await count(store) == 0


async def test_writers_take_turns(store: Store) -> None:
    async def write(at: int) -> None:
        async with store.begin() as conn:
            await bulk.insert(conn, cursor, COLUMNS, [("f", str(at), "{}", 1)])

    await asyncio.gather(*(write(at) for at in range(50)))
    assert await count(store) == 50


async def test_a_writer_that_is_cancelled_leaves_the_next_one_free(store: Store) -> None:
    started = asyncio.Event()

    async def stuck() -> None:
        async with store.begin() as conn:
            await bulk.insert(conn, cursor, COLUMNS, [("f", "a", "{}", 1)])
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5), store.begin() as conn:
        await bulk.insert(conn, cursor, COLUMNS, [("f", "b", "{}", 1)])
    assert await count(store) == 1


async def test_a_transaction_inside_a_transaction_is_a_mistake_not_a_hang() -> None:
    store = await Store.open("sqlite://")
    try:
        async with store.begin():
            with pytest.raises(RuntimeError, match="inside"):
                async with store.begin():
                    pass
    finally:
        await store.close()


async def test_a_broken_rule_is_told_without_the_values(store: Store) -> None:
    with pytest.raises(ConstraintBroken) as caught:
        async with store.begin() as conn:
            await bulk.insert(conn, cursor, COLUMNS, [("f", "13800138000", "{}", 1)] * 2)
    assert "13800138000" not in str(caught.value)


async def test_the_schema_of_the_upgrades_is_that_of_the_tables(store: Store) -> None:
    async with store.begin() as conn:
        differences = await conn.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
        )
    assert differences == []


async def test_a_store_that_is_opened_again_has_what_was_written(store_url: str) -> None:
    first = await Store.open(store_url)
    async with first.begin() as conn:
        await cursors.put(conn, "f", "record", {"id": "5"}, 1)
    await first.close()
    second = await Store.open(store_url, create=False)
    assert await cursors.get(second, "f", "record") == {"id": "5"}
    await second.close()


async def test_an_empty_store_is_refused_when_it_must_exist(store_url: str) -> None:
    with pytest.raises(StoreError, match=r"no store at|is empty"):
        await Store.open(store_url, create=False)


async def test_a_newer_store_is_refused(store_url: str) -> None:
    store = await Store.open(store_url)
    async with store.begin() as conn:
        await conn.execute(text("UPDATE alembic_version SET version_num = '9999_post'"))
    await store.close()
    with pytest.raises(StoreNewer, match="newer release") as caught:
        await Store.open(store_url)
    assert caught.value.hint


async def test_somebody_elses_database_is_refused(store_url: str, tmp_path: Path) -> None:
    store = await Store.open(store_url)
    async with store.begin() as conn:
        await conn.execute(text("DROP TABLE alembic_version"))
    await store.close()
    with pytest.raises(StoreError, match="not the hub's"):
        await Store.open(store_url)


async def test_a_second_opening_is_refused_and_says_who_has_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    store = await Store.open(url)
    store.announce(api="http://127.0.0.1:8080", token_path="/tmp/token")
    with pytest.raises(StoreLocked) as caught:
        await Store.open(url)
    assert str(os.getpid()) in caught.value.message
    assert caught.value.holder is not None
    assert caught.value.holder.api == "http://127.0.0.1:8080"
    assert caught.value.holder.token_path == "/tmp/token"
    await store.close()
    assert holder_of(tmp_path / "hub.db") is None
    again = await Store.open(url)
    await again.close()


async def test_who_only_looks_does_not_keep_the_owner_out(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path}/hub.db", tmp_path / "hub.db"
    assert holder_of(path) is None
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder_of(path)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(20):
            lock = FileLock(path)
            lock.take()
            found = holder_of(path)
            assert found is not None
            assert found.pid == os.getpid()
            lock.release()
    finally:
        stop.set()
        watcher.join()
    store = await Store.open(url)
    await store.close()


async def test_the_lock_of_a_dead_process_is_no_lock(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    script = (
        "import asyncio, sys\n"
        "from hub.store.engine import Store\n"
        "async def main():\n"
        "    await Store.open(sys.argv[1])\n"
        "    print('open', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=str(process.pid)):
            await Store.open(url)
        process.kill()
        process.wait()
    store = await Store.open(url)
    await store.close()


async def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.write_text("this is a letter, not a database. " * 100)
    with pytest.raises(StoreError, match="not a database"):
        await Store.open(f"sqlite:///{path}")


async def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be used"):
        await Store.open(f"sqlite:///{tmp_path}/file/hub.db")


async def test_a_full_disk_is_told() -> None:
    store = await Store.open("sqlite://")
    try:
        with pytest.raises(StoreError, match="disk is full"):  # noqa: PT012
            async with store.begin() as conn:
                await conn.execute(text("PRAGMA max_page_count = 1"))
                await bulk.insert(conn, system, ("name", "connector", "fingerprint", "first_seen"), _large())
        assert await count(store) == 0
    finally:
        await store.close()


def _large() -> list[tuple[str, str, str, int]]:
    return [(str(at), "c", "x" * 10_000, 1) for at in range(500)]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://root:secret@127.0.0.1/hub", "can't keep its store in 'mysql'"),
        ("not a url: secret", "can't be read"),
        ("postgresql://postgres:secret@127.0.0.1:1/hub", "does not answer"),
        ("postgresql://postgres:secret@nowhere.invalid/hub", "does not answer"),
    ],
)
async def test_a_wrong_url_is_told_without_the_password(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        await Store.open(url)
    assert "secret" not in f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert caught.value.hint


async def test_a_database_that_is_not_there_is_told(postgres_url: str) -> None:
    address = psycopg.conninfo.conninfo_to_dict(postgres_url)
    url = f"postgresql://{address['user']}@{address['host']}:{address['port']}/no_such_database"
    with pytest.raises(StoreUnreachable, match="no database by that name"):
        await Store.open(url)


async def test_a_refused_user_is_told(postgres_url: str) -> None:
    address = psycopg.conninfo.conninfo_to_dict(postgres_url)
    url = f"postgresql://nobody_here:secret@{address['host']}:{address['port']}/postgres"
    with pytest.raises(StoreUnreachable) as caught:
        await Store.open(url)
    assert "secret" not in str(caught.value)


async def test_the_planner_is_told_of_growth_and_a_large_table_is_not_looked_through_again(postgres_url: str) -> None:
    async def grow(rows: int, stream: str) -> float:
        """How many rows the planner knows of, after a new process has added `rows`."""
        store = await Store.open(postgres_url)
        async with store.begin() as conn:
            await conn.execute(text("ALTER TABLE cursor SET (autovacuum_enabled = false)"))
            await bulk.insert(conn, cursor, COLUMNS, [(stream, str(at), "{}", 1) for at in range(rows)])
        async with store.read() as conn:
            known = (
                await conn.execute(text("SELECT reltuples FROM pg_class WHERE oid = 'cursor'::regclass"))
            ).scalar_one()
        await store.close()
        return float(known)

    assert await grow(10_000, "a") == 10_000
    assert await grow(2_500, "b") == 10_000
    assert await grow(12_500, "c") == 25_000


async def test_its_name_has_no_password(postgres_url: str) -> None:
    store = await Store.open(postgres_url.replace("postgres@", "postgres:secret@"))
    assert "secret" not in repr(store)
    await store.close()


async def test_a_connection_that_breaks_is_told_and_the_next_one_works(postgres_url: str) -> None:
    store = await Store.open(postgres_url)
    with pytest.raises(StoreUnreachable):  # noqa: PT012
        async with store.begin() as conn:
            pid = (await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            with psycopg.connect(postgres_url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", [pid])
            await conn.execute(text("SELECT 1"))
    assert await count(store) == 0
    await store.close()
