"""Releases that don't exist yet, made for tests, and the code of each at work in a process of its own.

The next release moves the reason of an audit line from `why` to `reason`: its pre-step adds the column, its post-step
takes the old one away. Code of today's release is the hub's own; code of the next one writes the new column and never
names the old one. The release after that adds a table and takes away a column more.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hub.store import audit, bulk, cursors, inbox
from hub.store.engine import Store
from hub.store.tables import audit as audit_table
from hub.store.upgrade.history import History

_TODAY = History()

PRE, POST, LATER_PRE, LATER_POST = (
    f"{_TODAY.release + ahead:04d}_{step}" for ahead, step in ((1, "pre"), (1, "post"), (2, "pre"), (2, "post"))
)
_WORK = {
    PRE: 'op.add_column("audit", sa.Column("reason", sa.Text()))',
    POST: 'op.drop_column("audit", "why")',
    LATER_PRE: 'op.create_table("shade", sa.Column("id", sa.BigInteger(), primary_key=True))',
    LATER_POST: 'op.drop_column("audit", "detail")',
}


def following(folder: Path, *, releases: int = 1) -> History:
    """The history of the next release, or of the one after that: the hub's own schema and their steps."""
    folder.mkdir(exist_ok=True)
    before = _TODAY.newest
    for step in list(_WORK)[: 2 * releases]:
        text = (
            f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = {step!r}\ndown_revision = {before!r}\n\n\n"
            f"def upgrade():\n    {_WORK[step]}\n"
        )
        (folder / f"{step}.py").write_text(text, encoding="utf-8")
        before = step
    return History(folder)


async def work(url: str, release: str, folder: str) -> None:
    """Write what the hub writes, as code of that release does, until stdin ends; each turn is counted in a cursor."""
    history = History(Path(folder)) if release == "next" else _TODAY
    store = await Store.open(url, history=history)
    print("open", flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    turn = 0
    while not ended.done():
        turn += 1
        now = store.clock.now()
        message = inbox.Message("crm", f"{release}-{turn}", now, [{"object": "Account", "id": str(turn)}], b"{}")
        await inbox.receive(store, [message])
        async with store.begin() as conn:
            if release == "today":
                await audit.note(store, conn, who="old", act="write", subject=str(turn), detail={}, why="because")
            else:
                row = (store.ids.take(1)[0], now, "new", "write", str(turn))
                columns = ("id", "at", "who", "act", "subject")
                await bulk.insert(conn, audit_table, columns, [row])
                await conn.exec_driver_sql("UPDATE audit SET reason = %s WHERE id = %s", ("because", row[0]))
            await cursors.put(conn, release, "turns", {"turn": turn}, now)
    await store.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], sys.argv[3]))
