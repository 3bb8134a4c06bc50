"""Bench `drain`: deliveries a second through the retry queue, beside Celery and Procrastinate doing a job a record.

Measured is one process that takes what is due until nothing is left: claim a batch under a lease, look up identities
and what was sent before, translate ten columns, commit the intents and the reserved match keys, write to a target that
answers at once, and settle identity, rendering, history and ledger in one transaction. Capturing came before and does
not count; neither does filling the queues of the peers.

`first`: the deliveries are due for the first time, every one makes a record (the headline). `again`: the target has
refused each once as throttled, and its wait is over. `update`: the source has changed since, every one changes a record
that is there. The limit is a hand-written sqlite3 loop with the same commits. What the peers do stands in `_peers.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from bench import _peers
from bench._postgres import schema
from bench.report import Report, peak_mb, print_report
from bench.sync import (
    PAGE,
    InstantSource,
    InstantTarget,
    bench_flow,
    capture_by_hand,
    deliver_by_hand,
    open_by_hand,
    records,
)
from hub.connector.contract import Op, Write
from hub.connector.simulator import SimulatorClock
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Record
from hub.runtime.memory import keep_collector_quiet
from hub.store.engine import Store
from hub.sync.engine import Engine

WAIT = 36_000.0  # seconds that the target asks for when it throttles: none is due again while the turn lasts


class Target(InstantTarget):
    """Takes everything at once, or refuses everything as throttled while `throttles`."""

    def __init__(self) -> None:
        super().__init__()
        self.throttles = False

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        if self.throttles:
            return [Outcome(OutcomeKind.NOT_EXECUTED, retry_after=WAIT) for _ in batch]
        made = iter(await super().write(object, [write for write in batch if write.op is Op.CREATE]))
        return [
            next(made) if write.op is Op.CREATE else Outcome(OutcomeKind.OK, write.id, 2, steps=("save",))
            for write in batch
        ]


class Source(InstantSource):
    """The same records, then each of them once more with another name."""

    def change(self, count: int, seed: int, stamp: int) -> None:
        self._records = (
            Record(one.object, one.id, {**one.fields, "name": f"{one.fields['name']} 2"}, 2, stamp)
            for one in records(count, seed)
        )


async def ours(url: str, count: int, seed: int) -> dict[str, float]:
    """Deliveries a second: first, again and update."""
    clock = SimulatorClock()  # the machine's, moved past the waits
    store = await Store.open(url, clock=clock)
    source, target = Source(count, seed), Target()
    engine = Engine(store, {"bench": bench_flow(clock, source, target)})
    rates = {}
    try:
        await engine.read("bench")
        rates["first"] = await _drained(engine, count)
        source.change(count, seed, clock.now())
        await engine.read("bench", since=0)
        rates["update"] = await _drained(engine, count)
    finally:
        await store.close()
    return rates


async def again(url: str, count: int, seed: int) -> float:
    """Deliveries a second of those that the target has refused once."""
    clock = SimulatorClock()
    store = await Store.open(url, clock=clock)
    target = Target()
    engine = Engine(store, {"bench": bench_flow(clock, InstantSource(count, seed), target)})
    try:
        await engine.read("bench")
        target.throttles = True
        await engine.drain("bench")
        target.throttles = False
        clock.advance(2 * WAIT)
        return await _drained(engine, count)
    finally:
        await store.close()


async def _drained(engine: Engine, count: int) -> float:
    began = time.perf_counter()
    states = await engine.drain("bench")
    took = time.perf_counter() - began
    if states != {"done": count}:
        raise SystemExit(f"the hub brought {states} to rest, of {count} deliveries")
    return count / took


def by_hand(path: Path, count: int, seed: int) -> float:
    """Deliveries a second of a hand-written loop with the same commits."""
    db = open_by_hand(path)
    source = records(count, seed)
    key = 1
    while page := list(islice(source, PAGE)):
        capture_by_hand(db, page, key)
        key += len(page)
    began = time.perf_counter()
    done = 0
    while taken := deliver_by_hand(db):
        done += taken
    took = time.perf_counter() - began
    db.close()
    if done != count:
        raise SystemExit(f"the loop by hand delivered {done} of {count}")
    return count / took


def measure(given: argparse.Namespace, folder: Path) -> Report:
    rates: dict[str, dict[str, float]] = {}
    for name in given.database:
        with contextlib.ExitStack() as stack:
            urls = [
                f"sqlite:///{folder}/{turn}.db" if name == "sqlite" else stack.enter_context(schema())
                for turn in ("first", "again")
            ]
            rates[name] = asyncio.run(ours(urls[0], given.records, given.seed))
            rates[name]["again"] = asyncio.run(again(urls[1], given.records, given.seed))
    peak = peak_mb()
    limit = by_hand(folder / "hand.db", given.records, given.seed)
    peers = {}
    if given.peers:
        peers["celery"] = _peers.celery_rate(given.jobs, given.seed, folder)
        peers["procrastinate"] = _peers.procrastinate_rate(given.jobs, given.seed)
    headline = next(iter(rates.values()))["first"]
    extra: dict[str, float] = {
        f"{name}_{kind}": round(rate) for name, kinds in rates.items() for kind, rate in kinds.items()
    }
    extra |= {
        f"{name}_times_{peer}": round(kinds["first"] / rate, 1)
        for name, kinds in rates.items()
        for peer, rate in peers.items()
    }
    return Report("drain", "deliveries/s", headline, limit, peers, peak, extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000, help="deliveries of the hub, each time")
    parser.add_argument("--jobs", type=int, default=5_000, help="jobs of each peer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="the hub and the limit only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    keep_collector_quiet()
    with tempfile.TemporaryDirectory(prefix="bench-drain-") as folder:
        print_report(measure(given, Path(folder)), as_json=given.json)


if __name__ == "__main__":
    main()
