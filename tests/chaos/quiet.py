"""Until all is quiet: everything read, swept and brought to rest, and no write in either system any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from tests.chaos.hubs import NotAtWork
from tests.chaos.stage import FLOWS, Stage

# What the target blocks rests until people do something there; whether they have to is the checker's to say.
_OWED = ("pending", "working", "doubt", "waiting")
_LOOK = 0.3
_STILL = 45.0  # seconds without any change in the books until what is owed counts as stuck
_LONGEST = 300.0  # seconds until what is owed counts as stuck although it moves
_ROUNDS = 12


class Restless(Exception):
    """It does not become quiet: every round still brings writes. The text says what is owed."""


async def quiet(stage: Stage) -> list[str]:
    """Wait until whole rounds of complete reads bring nothing to write. Returns what would not come to rest, in words.

    A round reads every flow's source in full, which is what the hub does of itself once a day: it finds what no stamp
    and no callback has told.
    """
    writes = -1
    for _ in range(_ROUNDS):
        left = await at_rest(stage)
        if left:
            return left
        if writes == (writes := await _writes(stage)):
            return []
        for flow in FLOWS:
            try:
                await stage.hubs.ask("sync", flow=flow, full=True, deliver=False)
            except NotAtWork as failed:
                return [str(failed)]
    return [f"every round of reads brings more writes: {writes} by now"]


async def _writes(stage: Stage) -> int:
    """How many writes have come through the vendors' APIs: the hub's."""
    journals = [*await stage.crm.journal(), *await stage.erp.journal()]
    return sum(entry["actor"] == "api" for entry in journals)


async def at_rest(stage: Stage, *, waiting: bool = True) -> list[str]:
    """Wait until nothing is owed. Returns what is, once nothing has moved for too long.

    `waiting=False` leaves alone what waits for what people have not done yet.
    """
    before: Mapping[str, int] = {}
    began = moved = time.monotonic()
    calm = 0
    while calm < 3:
        books = {what: count for what, count in (await owed(stage)).items() if waiting or " waiting " not in what}
        calm = 0 if books else calm + 1
        if books != before:
            before, moved = books, time.monotonic()
        now = time.monotonic()
        if books and (now - moved > _STILL or now - began > _LONGEST):
            return [f"{count} of {what}" for what, count in books.items()]
        await asyncio.sleep(_LOOK)
    return []


async def owed(stage: Stage) -> dict[str, int]:
    """What is not at rest, by flow, state and reason; and the webhooks that have not been looked into."""
    rows = await stage.database.rows(
        "SELECT flow, state, reason, count(*) AS n FROM delivery GROUP BY flow, state, reason"
    )
    found = {f"{row['flow']} {row['state']} ({row['reason']})": int(row["n"]) for row in rows if row["state"] in _OWED}
    hints = await stage.database.rows("SELECT count(*) AS n FROM hint")
    if hints and hints[0]["n"]:
        found["records that webhooks named"] = int(hints[0]["n"])
    return found
