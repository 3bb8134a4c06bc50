"""What is known of a record's content beside its identity: seen, sent, in doubt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.store import bulk
from hub.store.tables import shadow


@dataclass(frozen=True, slots=True)
class Shadow:
    """JSON texts: fields as last read (`seen`), our last rendering (`sent`), names of fields in doubt."""

    identity: int
    seen: str | None = None
    seen_version: int | None = None
    seen_at: int | None = None
    sent: str | None = None
    sent_at: int | None = None
    doubt: str | None = None


_COLUMNS = tuple(Shadow.__slots__)
_ALL = select(*(shadow.c[name] for name in _COLUMNS))

SHADOW_COLUMNS = ("identity", "seen", "seen_at", "sent", "sent_at", "doubt")

# A flow that does not read its target says nothing of `seen`, and so leaves what the other direction knows.
_KEEP_SEEN = {
    "seen": 'coalesce(excluded."seen", "shadow"."seen")',
    "seen_at": 'coalesce(excluded."seen_at", "shadow"."seen_at")',
    "sent": 'excluded."sent"',
    "sent_at": 'excluded."sent_at"',
    "doubt": 'excluded."doubt"',
}

ShadowRow = tuple[int, str | None, int | None, str | None, int | None, str | None]


async def shadows(conn: AsyncConnection, identity_ids: Collection[int]) -> dict[int, Shadow]:
    """By identity; those of which nothing is known are left out."""
    rows = await bulk.fetch(conn, _ALL, shadow.c.identity, identity_ids)
    return {row[0]: Shadow(*row) for row in rows}


async def put_shadows(conn: AsyncConnection, rows: Sequence[ShadowRow]) -> None:
    """Remember contents: `SHADOW_COLUMNS`, one row an identity. Without `seen` the one that is there stays."""
    await bulk.upsert(conn, shadow, ("identity",), SHADOW_COLUMNS, rows, sets=_KEEP_SEEN)


async def doubt(conn: AsyncConnection, rows: Sequence[tuple[int, str]]) -> None:
    """Put fields in doubt: (identity, JSON list of names); they equal nothing until they have been sent again."""
    await bulk.upsert(conn, shadow, ("identity",), ("identity", "doubt"), rows)


async def forget(conn: AsyncConnection, identity_ids: Collection[int]) -> None:
    """Nothing is known of these any more."""
    await bulk.delete(conn, shadow, ("identity",), [(one,) for one in identity_ids])
