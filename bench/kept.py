"""Bench `kept`: how much of its throughput a fleet keeps while one of its workers is SIGKILLed every five seconds.

Worker processes share one PostgreSQL store and deliver what is due to a target that answers at once, as `drain` does,
in batches of the default size. First they are left alone, then every five seconds one of them is killed with what it
has in hand and started again at once, then they are left alone again. The figure is the rate of finished deliveries
while workers die over the mean rate before and after. What a dead worker had claimed waits for its lease, so it is
missing from the figure, as it is from a user's throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import psycopg

from bench._postgres import schema
from bench.report import Report, peak_mb_of, print_report
from bench.sync import InstantSource, InstantTarget, bench_flow, records
from hub.domain.record import Record
from hub.runtime.memory import keep_collector_quiet
from hub.store.engine import Store
from hub.sync.engine import Engine
from hub.sync.flow import Policy
from hub.sync.payload import of

ASKED = 0.9
KILL_EVERY = 5.0  # seconds
_IDLE = 0.02  # seconds until a worker that found nothing looks again


async def worker(url: str) -> None:
    """Deliver what is due until killed."""
    keep_collector_quiet()
    store = await Store.open(url)
    engine = Engine(store, {"bench": bench_flow(store.clock, InstantSource(0, 0), InstantTarget(), Policy())})
    print("ready", flush=True)
    while True:
        if not await engine.drain("bench"):
            await asyncio.sleep(_IDLE)


async def prepare(url: str) -> None:
    await (await Store.open(url)).close()


def fill(db: psycopg.Connection, low: int, count: int) -> None:
    """Captured deliveries `low` to `low + count`, due now."""
    example = next(records(1, seed=1))
    body = of(Record(example.object, example.id, example.fields), {}).encode()
    body = body.replace("%", "%%").replace(example.id, "' || hex || '").replace("K00000000", "' || number || '")
    series = (
        f"WITH s AS (SELECT n, lpad(to_hex(n), 24, '0') AS hex, 'K' || lpad(n::text, 8, '0') AS number"
        f" FROM generate_series({low}, {low + count - 1}) AS n)"
    )
    db.execute(
        "INSERT INTO identity (id, entity, system, object, record_id, origin, created, kind, role, facet, usable,"
        " revision)"
        f" {series} SELECT 4 * n, 4 * n, 'a', 'Customer', hex, 'captured', 1, 'customer', 'primary', '', true, 0 FROM s"
    )
    db.execute(
        "INSERT INTO delivery (id, flow, source_id, entity, state, title, due, since, hash, asked, answered, captured)"
        f" {series} SELECT 4 * n + 2, 'bench', hex, 4 * n, 'pending', number, n, 1, 'h', 1, 1, 1 FROM s"
    )
    db.execute(f"INSERT INTO payload (delivery, body) {series} SELECT 4 * n + 2, '{body}' FROM s")


class Fleet:
    """Worker processes."""

    def __init__(self, url: str, size: int, bytecode: str) -> None:
        self._url = url
        # As an installed program starts: compiled once, wherever this bench itself may not keep bytecode.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._environment = {**kept, "PYTHONPYCACHEPREFIX": bytecode}
        self._workers = [self._start() for _ in range(size)]
        self.kills = 0
        self.peak = 0.0
        for one in self._workers:
            assert one.stdout is not None
            if one.stdout.readline() != b"ready\n":
                raise SystemExit("a worker did not start")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bench.kept", "--worker", self._url]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=self._environment)

    def kill_one(self) -> None:
        """The next in turn, with what it has in hand; another takes its place at once."""
        at = self.kills % len(self._workers)
        self.peak = max(self.peak, peak_mb_of(self._workers[at].pid))
        self._workers[at].kill()
        self._workers[at].wait()
        self._workers[at] = self._start()
        self.kills += 1

    def end(self) -> None:
        for one in self._workers:
            one.kill()
            one.wait()


def rate(db: psycopg.Connection, seconds: float, beat: Callable[[], None] | None = None) -> float:
    """Deliveries a second that were finished within so many seconds; `beat` is called every five of them."""
    began, before = time.perf_counter(), _done(db)
    beats = 0
    while (now := time.perf_counter() - began) < seconds:
        if beat is not None and now >= beats * KILL_EVERY:
            beat()
            beats += 1
        time.sleep(0.05)
    return (_done(db) - before) / (time.perf_counter() - began)


def _done(db: psycopg.Connection) -> int:
    row = db.execute("SELECT count(*) FROM delivery WHERE flow = 'bench' AND state = 'done'").fetchone()
    assert row is not None
    return int(row[0])


def measure(given: argparse.Namespace, url: str) -> Report:
    asyncio.run(prepare(url))
    with psycopg.connect(url, autocommit=True) as db, contextlib.ExitStack() as stack:
        fill(db, 1, given.records)
        db.execute("ANALYZE")
        fleet = Fleet(url, given.workers, stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-kept-")))
        stack.callback(fleet.end)
        rate(db, given.seconds / 4)  # warm
        before = rate(db, given.seconds)
        killed = rate(db, given.seconds, fleet.kill_one)
        after = rate(db, given.seconds)
        left = given.records - _done(db)
        if left < given.records * 0.05:
            raise SystemExit(f"{given.records} deliveries were too few: {left} are left; ask for more with --records")
    undisturbed = (before + after) / 2
    extra = {
        "undisturbed_before": round(before),
        "killed": round(killed),
        "undisturbed_after": round(after),
        "kills": fleet.kills,
        "workers": given.workers,
    }
    return Report("kept", "share of the undisturbed rate", killed / undisturbed, ASKED, {}, fleet.peak, extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each of the three parts")
    parser.add_argument("--records", type=int, default=600_000, help="deliveries that are due; more than are done")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        asyncio.run(worker(given.worker))
        return
    with schema() as url:
        print_report(measure(given, url), as_json=given.json)


if __name__ == "__main__":
    main()
