"""What people do in both systems, written down as they do it; and what both journals tell of it since."""

from __future__ import annotations

import time
from typing import Any

from hub.cli.demo.desk import Desk
from hub.domain.errors import HubError
from tests.chaos.evidence import Row


class Diary:
    """Edits by persons. `changes` counts those that a system took, `refused` keeps the words of the others."""

    def __init__(self, crm: Desk, erp: Desk) -> None:
        self.entries: list[Row] = []
        self.changes = 0
        self.refused: list[str] = []
        self._desks = {"crm": crm, "erp": erp}

    async def crm(self, op: str, object: str, id: str | None = None, **more: Any) -> str | None:
        """An edit in the CRM; the record's id, or None when it was refused."""
        return await self._edit("crm", op, object, id, more)

    async def erp(self, op: str, object: str, id: str | None = None, **more: Any) -> str | None:
        """The same in the ERP."""
        return await self._edit("erp", op, object, id, more)

    async def import_crm(self, object: str, fields: Row) -> str:
        """A record that an import puts into the CRM as it stands: nobody is called back. It names its own `_id`."""
        await self._desks["crm"].seed(object, [dict(fields)])
        id = str(fields["_id"])
        self._note("crm", "seed", object, id, dict(fields), {})
        return id

    async def _edit(self, side: str, op: str, object: str, id: str | None, more: dict[str, Any]) -> str | None:
        try:
            done = await self._desks[side].person(op, object, id, **more)
        except HubError as error:
            self.refused.append(f"{side} {op} {object} {id}: {error.message}")
            return None
        found = str(done["id"])
        self._note(side, op, object, found, more.get("fields"), more)
        return found

    def _note(self, side: str, op: str, object: str, id: str, fields: Row | None, more: dict[str, Any]) -> None:
        self.changes += 1
        self.entries.append(
            {
                "side": side,
                "op": more.get("operation", op),
                "object": object,
                "id": id,
                "fields": fields,
                "at": time.time_ns() // 1_000_000,
            }
        )


class News:
    """The journals of both systems, read on from where they were left."""

    def __init__(self, crm: Desk, erp: Desk) -> None:
        self._desks = (crm, erp)
        self._read = [0, 0]

    async def since(self) -> tuple[list[Row], list[Row]]:
        """What the CRM and the ERP have committed since the last time."""
        found: list[list[Row]] = []
        for at, desk in enumerate(self._desks):
            entries: list[Any] = await desk.journal()
            found.append(entries[self._read[at] :])
            self._read[at] = len(entries)
        return found[0], found[1]
