"""Bench `fleet`: deliveries a second of 1, 2 and 4 worker processes that drain one flow over one PostgreSQL.

Measured is from the word 'go', when every process has opened the store, until the last delivery is settled: claims
under leases, translation, intents, writes, settling. Capturing came before and does not count. Celery is not in the way
of a delivery, so it is not here: it carries one signal a flow and two seconds.

`instant`: the target answers at once, so that the processor and the database are the limit. `slow`: it takes its time
for each call, as vendors do, so that waiting is the limit, and processes wait side by side. The limit is linear growth:
as many times the rate of one process as there are processes. On a machine whose cores the database shares with the
workers `instant` can't reach it; the extras say how many cores there were.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from time import perf_counter

import orjson

from bench._postgres import schema
from bench.report import Report, peak_mb, print_report
from bench.sync import InstantSource, InstantTarget, bench_flow
from hub.connector.contract import Write
from hub.domain.outcome import Outcome
from hub.runtime.memory import keep_collector_quiet
from hub.store.engine import Store
from hub.sync.engine import Engine
from hub.sync.flow import Policy

_APART = 10**9  # target ids that one process may give


class Target(InstantTarget):
    """Takes everything after `seconds` a call; `worker` keeps its ids apart from those of the other processes."""

    def __init__(self, worker: int, seconds: float) -> None:
        super().__init__()
        self.written = worker * _APART
        self._seconds = seconds

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return await super().write(object, batch)


async def work(given: argparse.Namespace) -> None:
    """One worker: says when it is ready, waits for a line, drains, says what it did."""
    store = await Store.open(given.store)
    target = Target(given.worker, given.slow)
    flow = bench_flow(store.clock, InstantSource(0, 0), target, Policy(batch=given.batch))
    engine = Engine(store, {"bench": flow})
    keep_collector_quiet()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    states = await engine.drain("bench")
    while await engine.due_soon("bench") is not None:  # what others hold may come back
        for state, count in (await engine.drain("bench")).items():
            states[state] = states.get(state, 0) + count
        await asyncio.sleep(0.02)
    print(orjson.dumps({"states": states, "peak_mb": peak_mb()}).decode(), flush=True)
    await store.close()


async def rate(given: argparse.Namespace, workers: int, slow: float) -> tuple[float, float]:
    """Deliveries a second of so many processes, and the largest one's peak memory in MB."""
    count = given.records if not slow else given.records // 4
    with schema() as url:
        store = await Store.open(url)
        flow = bench_flow(store.clock, InstantSource(count, given.seed), InstantTarget())
        await Engine(store, {"bench": flow}).read("bench")
        command = [
            sys.executable,
            "-m",
            "bench.fleet",
            "--store",
            url,
            "--slow",
            str(slow),
            "--batch",
            str(given.batch),
        ]
        processes = [
            await asyncio.create_subprocess_exec(
                *command, "--worker", str(1 + at), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            for at in range(workers)
        ]
        for process in processes:
            await _line(process)
        began = perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
        told = [orjson.loads(await _line(process)) for process in processes]
        took = perf_counter() - began
        for process in processes:
            await process.wait()
        await store.close()
    done = sum(one["states"].get("done", 0) for one in told)
    if done != count:
        raise SystemExit(f"{workers} workers brought {[one['states'] for one in told]} to rest, of {count} deliveries")
    return count / took, max(one["peak_mb"] for one in told)


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


async def measure(given: argparse.Namespace) -> Report:
    rates: dict[str, dict[int, float]] = {"instant": {}, "slow": {}}
    peak = 0.0
    for kind, seconds in (("instant", 0.0), ("slow", given.slow or 0.5)):
        for workers in given.workers:
            rates[kind][workers], most = await rate(given, workers, seconds)
            peak = max(peak, most)
    first, last = min(given.workers), max(given.workers)
    extra: dict[str, float] = {f"{kind}_{n}": round(r) for kind, found in rates.items() for n, r in found.items()}
    for kind, found in rates.items():
        extra[f"{kind}_growth"] = round(found[last] / found[first], 2)
    extra["cores"] = os.cpu_count() or 0
    peers = {f"{first} worker, instant": rates["instant"][first]}
    limit = rates["instant"][first] * last / first
    return Report("fleet", "deliveries/s", rates["instant"][last], limit, peers, peak, extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=40_000, help="deliveries each time; a quarter of it for `slow`")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="how many processes, in turn")
    parser.add_argument("--batch", type=int, default=500, help="deliveries of one claim")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that the slow target takes for a call")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    if given.worker is not None:
        asyncio.run(work(given))
        return
    print_report(asyncio.run(measure(given)), as_json=given.json)


if __name__ == "__main__":
    main()
