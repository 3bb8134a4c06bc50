"""What a user would otherwise pick for a queue: Celery and Procrastinate, doing one job a record.

Both get the easier work: a job holds the record already and renders its ten columns by hand for a target that takes
everything at once. They keep no identity, no rendering and no history. Celery runs as it comes (prefork, one child a
core, early acknowledgement: what is in hand is lost when a worker dies), with a larger prefetch than its default.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery
from procrastinate import App, PsycopgConnector
from redis import Redis

from bench._postgres import schema
from bench.sync import records, translate_by_hand

BROKER = os.environ.get("HUB_TEST_BROKER", "redis://127.0.0.1:6379/0")
PATIENCE = 300.0  # seconds until a peer that does not get on is given up

_PREFIX, _DONE = "HUB_BENCH_PREFIX", "HUB_BENCH_DONE"


# ---- Celery ----------------------------------------------------------------------------------------------------------

celery = Celery("bench", broker=BROKER)
celery.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"global_keyprefix": os.environ.get(_PREFIX, "")},
)


class _Tally:
    """A byte a job in a file that all children append to: the cheapest count that several processes can share."""

    def __init__(self) -> None:
        self._file = -1

    def add(self) -> None:
        if self._file < 0:
            self._file = os.open(os.environ[_DONE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._file, b".")


_TALLY = _Tally()


@celery.task(name="bench.deliver")  # type: ignore[untyped-decorator]
def deliver(record: dict[str, Any]) -> None:
    translate_by_hand(record)
    _TALLY.add()


def celery_rate(count: int, seed: int, folder: Path) -> float:
    """Jobs a second of one Celery worker with a child a core. They are queued beforehand, and let in all at once."""
    prefix = f"bench-{secrets.token_hex(6)}:"
    done = folder / "done"
    done.touch()
    celery.conf.broker_transport_options = {"global_keyprefix": prefix}
    command = [sys.executable, "-m", "celery", "-A", "bench._peers:celery", "worker", "--loglevel", "ERROR"]
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    environment = {**os.environ, _PREFIX: prefix, _DONE: str(done), "PYTHONWARNINGS": "ignore"}
    broker: Redis = Redis.from_url(BROKER)
    worker = subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL)
    try:
        warm = 200
        for record in records(warm, seed):
            deliver.delay(record.fields)
        _until(done, warm, worker)
        for record in records(count, seed):
            deliver.apply_async((record.fields,), queue="staged")
        began = time.perf_counter()
        broker.rename(f"{prefix}staged", f"{prefix}celery")
        _until(done, warm + count, worker)
        return count / (time.perf_counter() - began)
    finally:
        worker.terminate()
        worker.wait(30)
        keys = list(broker.scan_iter(f"{prefix}*"))
        if keys:
            broker.delete(*keys)
        broker.close()
        celery.close()


def _until(file: Path, size: int, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while (reached := file.stat().st_size) < size:
        if worker.poll() is not None:
            raise SystemExit(f"the Celery worker ended with {worker.returncode} after {reached} of {size} jobs")
        if time.monotonic() > deadline:
            raise SystemExit(f"the Celery worker did {reached} of {size} jobs in {PATIENCE:.0f} s")
        time.sleep(0.005)


# ---- Procrastinate ---------------------------------------------------------------------------------------------------


def procrastinate_rate(count: int, seed: int) -> float:
    """Jobs a second of one Procrastinate worker; its queue is filled beforehand."""
    with schema() as url:
        return asyncio.run(_procrastinate(url, count, seed))


async def _procrastinate(url: str, count: int, seed: int) -> float:
    app = App(connector=PsycopgConnector(conninfo=url, max_size=12))
    done = 0

    @app.task(name="deliver")
    async def job(record: dict[str, Any]) -> None:
        nonlocal done
        translate_by_hand(record)
        done += 1

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        batch: list[dict[str, Any]] = []
        for record in records(count, seed):
            batch.append({"record": record.fields})
            if len(batch) == 1000:
                await job.batch_defer_async(*batch)
                batch = []
        if batch:
            await job.batch_defer_async(*batch)
        began = time.perf_counter()
        await app.run_worker_async(concurrency=10, wait=False, listen_notify=False, install_signal_handlers=False)
        took = time.perf_counter() - began
    if done != count:
        raise SystemExit(f"the Procrastinate worker did {done} of {count} jobs")
    return count / took
