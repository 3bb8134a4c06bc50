"""Bench `growth`: what a record costs with ten thousand, a million and (--full) ten million identities in the store.

The store is filled by bulk SQL with what a long life leaves behind: half of the identities are the source's, half the
target's, each pair with its ledger row, its last rendering and one attempt. Then as many new records as changed ones,
spread over everything that is there, are captured and delivered to a target that answers at once. The figure is the
cost of a record in the largest store over its cost in the smallest (the headline: the worse database). Each size is
measured in turns with the smallest, so that a machine that slows down slows down both. Flat is the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import orjson
from sqlalchemy import text

from bench._postgres import schema
from bench.drain import Target
from bench.report import Report, peak_mb, print_report
from bench.sync import PAGE, InstantSource, bench_flow, records, translate_by_hand
from hub.domain.clock import SystemClock
from hub.domain.record import Record
from hub.runtime.memory import keep_collector_quiet
from hub.store.engine import Store
from hub.sync.engine import Engine

FLAT = 1.3
SMALL, LARGE, FULL = 10_000, 1_000_000, 10_000_000
_CHUNK = 250_000  # pairs filled in one transaction


def _fill_statements(dialect: str) -> list[str]:
    """The rows of the pairs :low to :high. Ids are small, as of old; `n` names the pair."""
    if dialect == "sqlite":
        series = "WITH RECURSIVE s(n) AS (SELECT :low UNION ALL SELECT n + 1 FROM s WHERE n < :high)"
        source_id, target_id, number = "printf('%024x', n)", "printf('%012d', n)", "printf('K%08d', n)"
    else:
        series = "WITH s AS (SELECT generate_series(CAST(:low AS bigint), CAST(:high AS bigint)) AS n)"
        source_id, target_id = "lpad(to_hex(n), 24, '0')", "lpad(n::text, 12, '0')"
        number = "'K' || lpad(n::text, 8, '0')"
    identity = (
        "INSERT INTO identity (id, entity, system, object, record_id, number, origin, created, kind, role, facet,"
        " usable, revision)"
    )
    fixed = "1700000000000, 'customer', 'primary', '', true, 0"
    inserts = [
        f"{identity} {series} SELECT 4 * n, 4 * n, 'a', 'Customer', {source_id}, NULL, 'captured', {fixed} FROM s",
        f"{identity} {series} SELECT 4 * n + 1, 4 * n, 'b', 'Client', {target_id}, {number}, 'created', {fixed} FROM s",
        f"INSERT INTO shadow (identity, sent, sent_at) {series} SELECT 4 * n + 1, :sent, 1700000000000 FROM s",
        "INSERT INTO delivery (id, flow, source_id, entity, state, title, due, since, hash, asked, answered, captured,"
        " lane, attempts, deleted, refetch, revision, delivered_revision, fingerprint, lease_token)"
        f" {series} SELECT 4 * n + 2, 'bench', {source_id}, 4 * n, 'done', {number}, 1700000000000, 1700000000000,"
        " 'old', 1, 1, 1700000000000, 0, 0, false, false, 1, 1, 'old', 1 FROM s",
        "INSERT INTO attempt (id, delivery, at, target_id, fields, op, outcome, took)"
        f" {series} SELECT 4 * n + 3, 4 * n + 2, 1700000000000, {target_id}, '[]', 'create', 'ok', 1 FROM s",
    ]
    if dialect == "sqlite":  # a CTE stands before INSERT there
        return [f"{series} {one.replace(series, '')}" for one in inserts]
    return inserts


async def fill(store: Store, pairs: int, seed: int) -> None:
    """Pairs 0 to `pairs`, then statistics, as autovacuum would have taken them long ago."""
    sent = orjson.dumps({"f": translate_by_hand(next(records(1, seed)).fields)}).decode()
    for low in range(0, pairs, _CHUNK):
        async with store.begin() as conn:
            for statement in _fill_statements(store.dialect):
                given = {"low": low, "high": min(pairs, low + _CHUNK) - 1, "sent": sent}
                await conn.execute(text(statement), {name: given[name] for name in given if f":{name}" in statement})
    async with store.begin() as conn:
        await conn.exec_driver_sql("ANALYZE")


def work(pairs: int, count: int, turn: int, seed: int) -> Iterator[Record]:
    """A turn's records: one that is new, one that is there and has changed, and so on."""
    dice = random.Random(f"{seed} {turn}")
    stamp = time.time_ns() // 1_000_000
    old = dice.sample(range(pairs), count // 2)
    for at, one in enumerate(records(count, seed + turn)):
        number = pairs + turn * count + at if at % 2 else old[at // 2]
        id = f"{number:024x}"
        yield Record(one.object, id, {**one.fields, "id": id, "no": f"K{number:08d}"}, 1, stamp)


class Source(InstantSource):
    """Reads what a turn puts in."""

    def __init__(self) -> None:
        super().__init__(0, 0)

    def put(self, given: Iterator[Record]) -> None:
        self._records = iter(list(given))


class Bench:
    """One filled store."""

    def __init__(self, store: Store, pairs: int) -> None:
        self.store = store
        self.pairs = pairs
        self.source = Source()
        self.engine = Engine(store, {"bench": bench_flow(store.clock, self.source, Target())})
        self.costs: list[float] = []
        self.turn = 0

    async def measure(self, count: int, seed: int) -> None:
        """Seconds a record, captured and delivered."""
        self.source.put(work(self.pairs, count, self.turn, seed))
        self.turn += 1
        began = time.perf_counter()
        report = await self.engine.read("bench", since=0)
        states = await self.engine.drain("bench")
        self.costs.append((time.perf_counter() - began) / count)
        if (report.counts.new, report.counts.newer, states) != (count // 2, count // 2, {"done": count}):
            raise SystemExit(f"captured {report.counts}, delivered {states}, of {count}")

    @property
    def cost(self) -> float:
        return min(self.costs)


async def measure(name: str, sizes: list[int], given: argparse.Namespace, folder: Path) -> dict[int, float]:
    """The cost of a record (seconds) by the number of identities."""
    with contextlib.ExitStack() as stack:
        benches = []
        for size in sizes:
            url = f"sqlite:///{folder}/{size}.db" if name == "sqlite" else stack.enter_context(schema())
            store = await Store.open(url, clock=SystemClock())
            await fill(store, size // 2, given.seed)
            benches.append(Bench(store, size // 2))
        try:
            for _ in range(given.turns + 1):
                for bench in benches:
                    await bench.measure(given.records, given.seed)
            for bench in benches:
                bench.costs.pop(0)  # caches were cold
            return {size: bench.cost for size, bench in zip(sizes, benches, strict=True)}
        finally:
            for bench in benches:
                await bench.store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ten million identities too")
    parser.add_argument("--sizes", type=int, nargs="+", help="identities, the smallest first")
    parser.add_argument("--records", type=int, default=2 * PAGE, help="records a turn")
    parser.add_argument("--turns", type=int, default=4, help="how often each is measured; the best counts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    keep_collector_quiet()
    sizes = given.sizes or [SMALL, LARGE, *islice([FULL], int(given.full))]
    ratios: list[float] = []
    extra: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder:
        for name in given.database:
            costs = asyncio.run(measure(name, sizes, given, Path(folder)))
            ratios.append(costs[sizes[-1]] / costs[sizes[0]])
            extra |= {f"{name}_{size}_us": round(cost * 1e6, 1) for size, cost in costs.items()}
            extra[f"{name}_ratio"] = round(ratios[-1], 3)
    report = Report("growth", "times the cost in the smallest store", max(ratios), FLAT, {}, peak_mb(), extra)
    print_report(report, as_json=given.json)


if __name__ == "__main__":
    main()
