"""`python -m tests.chaos`: kill the hub while the world changes, then compare both systems with what has to be true."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time

import orjson

from hub.sync.failpoints import NAMES
from tests.chaos.run import POINTS, ZERO, Outcome, Plan, play

_SHOWN = 60


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kills", type=int, default=20, help="processes that are killed (SIGKILL)")
    options.add_argument("--minutes", type=float, default=1.0, help="how long the attack lasts at least")
    options.add_argument(
        "--database", default="sqlite", help="sqlite, or postgresql://... (a database beside it is made)"
    )
    options.add_argument("--workers", type=int, default=1, help="processes of the hub; more than one needs PostgreSQL")
    options.add_argument("--twin", help="a protection that is taken away, to see the checker find it out")
    options.add_argument("--changes", type=int, help="changes that people make; three a second where it is not said")
    options.add_argument("--records", type=int, default=40, help="how large the company is at first")
    options.add_argument(
        "--no-weather", action="store_true", help="the vendors behave; processes are killed all the same"
    )
    options.add_argument("--point", action="append", choices=NAMES, help="kill at this failpoint only; may be repeated")
    options.add_argument("--json", action="store_true", help="one JSON line")
    given = options.parse_args()
    if given.workers > 1 and given.database.startswith("sqlite"):
        options.error("a SQLite store has one process; name a PostgreSQL server for more")
    plan = Plan(
        seed=given.seed,
        kills=given.kills,
        minutes=given.minutes,
        database=given.database,
        workers=given.workers,
        twin=given.twin,
        changes=given.changes,
        records=given.records,
        weather=not given.no_weather,
        points=tuple(given.point or POINTS),
    )
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    async def playing() -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        # Told to end, it ends its simulators and processes, and drops its database.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await play(plan, say)

    outcome = asyncio.run(playing())
    if given.json:
        print(orjson.dumps(outcome.figures).decode())
    else:
        _table(outcome)
    if not outcome.clean:
        print("\n".join(["", *outcome.details[:_SHOWN], f"kept: {outcome.kept}"]), file=sys.stderr)
    return 0 if outcome.clean else 1


def _table(outcome: Outcome) -> None:
    for name, value in outcome.figures.items():
        if name == "faults":
            for fault, count in value.items():
                print(f"  {fault:<32} {count:>8}")
        else:
            mark = "" if name not in ZERO else "  ok" if not value else "  <-- has to be zero"
            print(f"{name:<34} {value!s:>8}{mark}")
    if outcome.unreached:
        print(f"failpoints that no process came by: {', '.join(outcome.unreached)}")
    if outcome.refused:
        print(f"edits of people that a system refused: {len(outcome.refused)}, such as: {outcome.refused[0]}")


if __name__ == "__main__":
    sys.exit(main())
