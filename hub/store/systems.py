"""Which tenant stands behind a system's name, so that another one is refused."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from hub.domain.errors import WrongTenant
from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import system


@dataclass(frozen=True, slots=True)
class KnownSystem:
    name: str
    connector: str
    fingerprint: str
    first_seen: int


async def prove(store: Store, name: str, connector: str, fingerprint: str) -> bool:
    """Remember the tenant behind `name`; True if it is new. Raises WrongTenant if it is another one than before.

    An ID map of one tenant makes nonsense of another: every id in it would point at a stranger's record.
    """
    async with store.begin() as conn:
        row = (name, connector, fingerprint, store.clock.now())
        added = await bulk.insert(conn, system, ("name", "connector", "fingerprint", "first_seen"), [row], ignore=True)
        if added:
            return True
        known = (await conn.execute(select(system.c.fingerprint).where(system.c.name == name))).scalar_one()
    if known != fingerprint:
        raise WrongTenant(
            f"`{name}` is another tenant than before: known as {known}, now {fingerprint}.",
            hint="give the new tenant a name of its own in hub.yaml, or correct its settings",
        )
    return False


async def known(store: Store) -> dict[str, KnownSystem]:
    """All of them, by name."""
    statement = select(system.c.name, system.c.connector, system.c.fingerprint, system.c.first_seen)
    async with store.read() as conn:
        return {row[0]: KnownSystem(*row) for row in (await conn.execute(statement)).all()}


async def forget(store: Store, name: str) -> bool:
    """A person says that the name may belong to another tenant from now on. True if it was known."""
    async with store.begin() as conn:
        return (await conn.execute(delete(system).where(system.c.name == name))).rowcount > 0
