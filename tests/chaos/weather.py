"""The weather: what the vendors do wrong while the hub is at work, in spells of a few seconds, drawn from a seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from hub.cli.demo.desk import Desk

Row = dict[str, Any]

LATE = 2.0  # seconds by which commits, finds and stamps come late at most: far less than the flows' settles_within
_CLOCK = 1.0  # seconds by which a vendor's clock is wrong at most, either way

# What saves, in each simulator's own words.
_WRITES = {"crm": "^(create|update|invalid|delete|add)$", "erp": "^(BatchSave|Submit|Audit|UnAudit|Excute)"}
_READS = {"crm": "^(query|get|findSimple|findOne)$", "erp": "^(ExecuteBillQuery|BillQuery|View)$"}


def _fault(kind: str, dice: random.Random, **more: Any) -> Row:
    return {"kind": kind, "seed": dice.getrandbits(16), **more}


def _spells(side: str) -> list[Callable[[random.Random], list[Row]]]:
    """The faults of one spell each; what a call does wrong has a chance, so that some get through."""
    write, read = _WRITES[side], _READS[side]
    found: list[Callable[[random.Random], list[Row]]] = [
        lambda dice: [_fault("reset_after_commit", dice, op=write, times=2, probability=0.4)],
        lambda dice: [_fault("commit_after_answer_lost", dice, op=write, times=2, probability=0.4, seconds=LATE)],
        lambda dice: [_fault("answer_lost_after_commit", dice, op=write, times=1, probability=0.3)],
        lambda dice: [_fault("http_500_after_commit", dice, op=write, times=2, probability=0.4)],
        lambda dice: [_fault("http_500", dice, op=write, times=2, probability=0.4)],
        lambda dice: [_fault("truncated", dice, op=write, times=1, probability=0.4)],
        lambda dice: [_fault("malformed", dice, op=write, times=1, probability=0.4)],
        lambda dice: [_fault("reset", dice, times=4, probability=0.3)],
        lambda dice: [_fault("reset", dice, op=read, times=3, probability=0.3)],
        lambda dice: [_fault("throttle", dice, times=4, probability=0.3)],
        lambda dice: [_fault("expire_token", dice, times=1, probability=0.3)],
        lambda dice: [_fault("slow", dice, times=3, probability=0.3, seconds=1.0)],
        lambda dice: [_fault("find_lag", dice, seconds=LATE)],
        lambda dice: [_fault("stale_get", dice, seconds=LATE)],
        lambda dice: [_fault("late_stamp", dice, seconds=LATE)],
    ]
    if side == "crm":
        found += [
            lambda dice: [_fault("callback_lost", dice, times=None, probability=0.5)],
            lambda dice: [_fault("callback_late", dice, times=None, probability=0.5, seconds=LATE)],
            lambda dice: [_fault("callback_twice", dice, times=None, probability=0.5)],
        ]
    return found


class Weather:
    """Changes every few seconds until cancelled; `clear` makes it fine again and says what struck."""

    def __init__(self, seed: int, crm: Desk, erp: Desk) -> None:
        self._dice = random.Random(f"weather {seed}")
        self._desks = {"crm": crm, "erp": erp}
        self._clocks = dict.fromkeys(self._desks, 0.0)
        self._spells = {side: self._shuffled(side) for side in self._desks}
        self.brought: Counter[str] = Counter()  # how often each kind was armed

    def _shuffled(self, side: str) -> list[Callable[[random.Random], list[Row]]]:
        found = _spells(side)
        self._dice.shuffle(found)
        return found

    async def change(self) -> None:
        """One spell after the other, each kind in turn, with fair hours between."""
        while True:
            for side, desk in self._desks.items():
                if not self._spells[side]:
                    self._spells[side] = self._shuffled(side)
                faults = self._spells[side].pop()(self._dice)
                await desk.arm(faults)
                self.brought.update(fault["kind"] for fault in faults)
                await self._turn_clock(side, desk)
            await asyncio.sleep(self._dice.uniform(1.5, 3.5))
            for desk in self._desks.values():
                await desk.disarm()
            await asyncio.sleep(self._dice.uniform(0.5, 1.5))

    async def _turn_clock(self, side: str, desk: Desk) -> None:
        wrong = round(self._dice.uniform(-_CLOCK, _CLOCK), 3)
        if self._dice.random() < 0.2:
            await desk.turn_clock(wrong - self._clocks[side])
            self._clocks[side] = wrong
            self.brought["clock"] += 1

    async def clear(self) -> Counter[str]:
        """No faults any more. Returns how often each kind struck a call or a callback; lasting ones by spells."""
        struck: Counter[str] = Counter()
        for desk in self._desks.values():
            struck.update(await desk.disarm())
        lasting = ("find_lag", "stale_get", "late_stamp", "clock")
        struck.update({kind: self.brought[kind] for kind in lasting if self.brought[kind]})
        return struck
