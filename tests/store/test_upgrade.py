"""Schema upgrades: in two steps, beside code of the release before and after, once, and never past what is in use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from hub.cli.main import run
from hub.domain.errors import StoreError
from hub.store import audit, engine
from hub.store.engine import Store
from hub.store.errors import StoreBusy, StoreNewer
from hub.store.upgrade import steps
from hub.store.upgrade.history import HERE, History, Step, number_of, step_of
from tests.store.releases import LATER_PRE, POST, PRE, following

TODAY = History().newest
PATIENCE = 60.0  # seconds until something that does not come is given up


async def columns(store: Store, table: str) -> set[str]:
    async with store.read() as conn:
        return {one["name"] for one in await conn.run_sync(lambda sync: inspect(sync).get_columns(table))}


@contextlib.asynccontextmanager
async def at_work(url: str, release: str, folder: Path) -> AsyncIterator[None]:
    """Code of that release in a process of its own; it ends in order with the block, or the test fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.store.releases", url, release, str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert line == b"open\n", (await process.stderr.read()).decode()
        yield
        _, error = await asyncio.wait_for(process.communicate(b""), PATIENCE)
        assert process.returncode == 0, error.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def turn(url: str, release: str) -> int:
    """How far the process of that release is; asked without the hub, which would count as a process of its own."""
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT position FROM cursor WHERE flow = %s", (release,)).fetchone()
    return int(json.loads(row[0])["turn"]) if row else 0


async def goes_on(url: str, *releases: str, more: int = 5) -> None:
    """Wait until each of these releases has written `more` turns from here on."""
    goals = {one: turn(url, one) + more for one in releases}
    deadline = time.monotonic() + PATIENCE
    while any(turn(url, one) < goal for one, goal in goals.items()):
        assert time.monotonic() < deadline, f"{goals} turns were to be reached"
        await asyncio.sleep(0.02)


async def test_two_releases_work_while_the_schema_goes_from_one_to_the_other(postgres_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "next"
    second = following(folder)
    await (await Store.open(postgres_url)).close()
    async with contextlib.AsyncExitStack() as new:
        async with at_work(postgres_url, "today", folder):
            await goes_on(postgres_url, "today")
            done = await Store.upgrade_at(postgres_url, Step.PRE, history=second)
            assert (done.applied, done.waiting) == ([PRE], [POST])
            await goes_on(postgres_url, "today")
            await new.enter_async_context(at_work(postgres_url, "next", folder))
            await goes_on(postgres_url, "today", "next")
            with pytest.raises(StoreError, match="older release still work") as caught:
                await Store.upgrade_at(postgres_url, Step.POST, history=second)
            assert caught.value.hint
            await goes_on(postgres_url, "today", "next")
        done = await Store.upgrade_at(postgres_url, Step.POST, history=second)
        assert (done.schema, done.applied, done.waiting) == (POST, [POST], [])
        await goes_on(postgres_url, "next")
        with pytest.raises(StoreNewer, match=POST):
            await Store.open(postgres_url)


async def test_opening_applies_what_the_release_needs_and_leaves_the_rest_to_a_person(
    store_url: str, tmp_path: Path
) -> None:
    store = await Store.open(store_url)
    async with store.begin() as conn:
        await audit.note(store, conn, who="x", act="y", subject="z", why="kept")
    await store.close()
    store = await Store.open(store_url, history=following(tmp_path / "next"))
    try:
        found = await columns(store, "audit")
        assert "reason" in found
        # Only where other processes may be at work does the post-step wait.
        assert ("why" in found) is (store.dialect == "postgresql")
        async with store.read() as conn:
            assert (await conn.execute(text("SELECT who FROM audit"))).scalar_one() == "x"
    finally:
        await store.close()


async def test_code_of_the_release_before_works_on_the_pre_step_and_not_on_the_post_step(
    postgres_url: str, tmp_path: Path
) -> None:
    second = following(tmp_path / "next")
    await (await Store.open(postgres_url)).close()
    await Store.upgrade_at(postgres_url, Step.PRE, history=second)
    old = await Store.open(postgres_url)
    async with old.begin() as conn:
        await audit.note(old, conn, who="x", act="y", subject="z", why="because")
    await old.close()
    assert (await Store.upgrade_at(postgres_url, Step.PRE)).applied == []
    await Store.upgrade_at(postgres_url, Step.POST, history=second)
    with pytest.raises(StoreNewer, match="newer release") as caught:
        await Store.open(postgres_url)
    assert caught.value.hint


async def test_a_new_store_gets_everything(store_url: str, tmp_path: Path) -> None:
    store = await Store.open(store_url, history=following(tmp_path / "next"))
    assert "why" not in await columns(store, "audit")
    await store.close()


async def test_a_store_that_is_too_old_is_refused_where_nothing_may_be_changed(store_url: str, tmp_path: Path) -> None:
    await (await Store.open(store_url)).close()
    second = following(tmp_path / "next")
    with pytest.raises(StoreError, match=f"has schema {TODAY}; this release needs {PRE}") as caught:
        await Store.open(store_url, create=False, history=second)
    assert "hub store upgrade" in str(caught.value.hint)
    await Store.upgrade_at(store_url, Step.PRE, history=second)
    await (await Store.open(store_url, create=False, history=second)).close()


async def test_a_release_may_be_skipped_once_nobody_of_the_skipped_ones_predecessors_works(
    postgres_url: str, tmp_path: Path
) -> None:
    third = following(tmp_path / "later", releases=2)
    old = await Store.open(postgres_url)
    with pytest.raises(StoreError, match=f"can't be brought to schema {POST}"):
        await Store.open(postgres_url, history=third)
    async with old.read() as conn:  # all or nothing: the pre-step before it was taken back
        assert (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == TODAY
    await old.close()
    new = await Store.open(postgres_url, history=third)
    assert await columns(new, "shade") == {"id"}
    assert "detail" in await columns(new, "audit")
    await new.close()


async def test_processes_that_start_at_once_upgrade_once(postgres_url: str, tmp_path: Path) -> None:
    for history in (following(tmp_path / "next"), following(tmp_path / "later", releases=2)):
        done = await asyncio.gather(*(Store.upgrade_at(postgres_url, Step.PRE, history=history) for _ in range(4)))
        assert [bool(one.applied) for one in done].count(True) == 1
    assert [step for one in done for step in one.applied] == [LATER_PRE]


async def test_an_upgrade_that_waits_for_a_table_lets_the_others_pass(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads `audit` for long; ALTER TABLE waits for him, and all who come later would wait behind it."""
    monkeypatch.setattr(steps, "LOCK_TIMEOUT", "200ms")
    store = await Store.open(postgres_url)
    async with await psycopg.AsyncConnection.connect(postgres_url) as reader:
        await reader.execute("SELECT * FROM audit")  # its transaction stays open
        upgrade = asyncio.create_task(Store.upgrade_at(postgres_url, Step.PRE, history=following(tmp_path / "next")))
        for _ in range(10):
            async with asyncio.timeout(PATIENCE), store.begin() as conn:
                await audit.note(store, conn, who="x", act="y", subject="z")
            await asyncio.sleep(0.05)
        assert not upgrade.done()
        await reader.rollback()
        done = await asyncio.wait_for(upgrade, PATIENCE)
    assert done.applied == [PRE]
    await store.close()


async def test_an_upgrade_that_never_gets_its_tables_says_so(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(engine, "_PATIENCE", 0.0)
    await (await Store.open(postgres_url)).close()
    async with await psycopg.AsyncConnection.connect(postgres_url) as reader:
        await reader.execute("SELECT * FROM audit")
        with pytest.raises(StoreBusy):
            await Store.upgrade_at(postgres_url, Step.PRE, history=following(tmp_path / "next"))


async def test_a_step_that_fails_leaves_the_store_as_it_was(store_url: str, tmp_path: Path) -> None:
    await (await Store.open(store_url)).close()
    folder = tmp_path / "next"
    following(folder)
    broken = (folder / f"{PRE}.py").read_text() + "    op.execute('SELECT no_such_column FROM audit')\n"
    (folder / f"{PRE}.py").write_text(broken)
    with pytest.raises(StoreError):
        await Store.open(store_url, history=History(folder))
    store = await Store.open(store_url)
    assert "reason" not in await columns(store, "audit")
    await store.close()


def test_the_command_upgrades_and_says_what_waits(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub.yaml").write_text(f"store: {postgres_url}\n")
    asyncio.run(_create(postgres_url))
    later = following(tmp_path / "next")
    monkeypatch.setattr(engine, "History", lambda: later)
    told = []
    for options in (["--pre"], ["--pre"], []):
        assert run(["-p", str(tmp_path), "store", "upgrade", "--json", *options]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told == [
        {"schema": PRE, "applied": [PRE], "waiting": [POST]},
        {"schema": PRE, "applied": [], "waiting": [POST]},
        {"schema": POST, "applied": [POST], "waiting": []},
    ]
    assert run(["-p", str(tmp_path), "store", "upgrade"]) == 0
    assert "nothing had to be done" in " ".join(capsys.readouterr().out.split())


async def _create(url: str) -> None:
    await (await Store.open(url)).close()


def test_our_steps_are_named_and_chained_in_the_order_in_which_they_are_applied() -> None:
    """The history is read off the files' names; Alembic goes by what stands in them."""
    ours = History()
    settings = Config()
    settings.set_main_option("script_location", str(HERE))
    settings.set_main_option("path_separator", "newline")
    chained = [(one.revision, one.down_revision) for one in ScriptDirectory.from_config(settings).walk_revisions()]
    assert chained[::-1] == list(zip(ours.revisions, [None, *ours.revisions], strict=False))
    assert ours.revisions[0] == "0001_post"
    assert all(step_of(one) is not None for one in ours.revisions)
    assert number_of(ours.newest) == ours.release
