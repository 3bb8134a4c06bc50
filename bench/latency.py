"""Bench `latency`: from a Fxiaoke callback to the write in Kingdee, at a steady rate, in milliseconds.

The hub is a real `hub run` in a process of its own, each simulator is another one, and everything goes over sockets. A
person edits a customer's phone in the CRM; Fxiaoke calls back; the hub stores the callback, acknowledges it, fetches
the customer, translates, and writes it to Kingdee. Measured from the moment the hub received the callback (the headline
is p50) and, as `edit`, from the commit in the CRM; both end with the commit in Kingdee. Every edit must arrive. The
mapping has no steps after the save: a submit and an audit cost two more calls, which no hub can shorten.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import yaml
from sqlalchemy import select

from bench._postgres import schema
from bench.report import Report, cpu_of, peak_mb_of, print_report
from hub.cli.demo.desk import Desk, desk
from hub.store.engine import Store
from hub.store.tables import inbox

POOL = 1_000  # customers that are edited in turn, so that two edits of one never meet
PATIENCE = 120.0  # seconds until something that does not come is given up
_CALLS = ("BatchSave", "ExecuteBillQuery")
ASKED = {"p50": 50.0, "p99": 250.0}

_MAPPING = """
mapping: latency
entity: customer
source: {system: crm, object: AccountObj}
target: {system: erp, object: BD_Customer}
title: name
match: [[FTAXREGISTERCODE]]
fields:
  FName: name
  FTAXREGISTERCODE: tax_no__c
  FTEL: tel
  FADDRESS: address
  FCreateOrgId.FNumber: {const: "100"}
  FUseOrgId.FNumber: {const: "100"}
  FTRADINGCURRID.FNumber: {const: PRE001}
"""


def customer(number: int) -> dict[str, Any]:
    return {
        "_id": f"{number:024x}",
        "name": f"客户 {number}",
        "tax_no__c": f"91310000MA{number:08d}",
        "tel": "0",
        "address": f"人民路 {number} 号",
        "life_status": "normal",
        "owner": ["1001"],
    }


def make_project(folder: Path, crm: Desk, erp: Desk, store: str) -> None:
    """A project of one flow between the two simulators; the CRM's limits are lifted as its simulator's are."""
    known = ("base_url", "app_id", "app_secret", "permanent_code", "user_id", "mobile", "ea", "aes_key", "path_calls")
    settings = {
        "store": {"url": store},
        "systems": {
            "crm": {"connector": "fxiaoke", **{name: crm.settings[name] for name in known}, "day_calls": 10_000_000},
            "erp": {"connector": "kingdee", "sessions": 4, **erp.settings},
        },
        "flows": {"latency": {"mapping": "latency.yaml", "every": "30m", "sweep": "off"}},
    }
    (folder / "hub.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    (folder / "latency.yaml").write_text(_MAPPING, encoding="utf-8")


@contextlib.asynccontextmanager
async def hub(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """`hub run` as a process: the URL of the CRM's webhooks, the process's id. It ends by SIGTERM with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from hub.cli.main import main; main()", "-p", str(folder), "run", "--json"),
        *("--port", "0"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await process.stdout.readline()
        told = orjson.loads(line) if line else {}
        if "hooks" not in told:
            raise SystemExit(f"the hub did not start: {line.decode()}")
        yield told["hooks"]["crm"], process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def run(given: argparse.Namespace, folder: Path, store: str) -> Report:
    async with desk("fxiaoke", "--with", "path_calls=1000000") as crm, desk("kingdee") as erp:
        await crm.seed("AccountObj", [customer(number) for number in range(POOL)])
        make_project(folder, crm, erp, store)
        async with hub(folder) as (hook, process):
            await _until("the customers in the ERP", lambda: _there(erp))
            calls_before = await erp.counts()
            before = len(await crm.journal()), len(await erp.journal())
            await crm.call_back(hook)
            used = cpu_of(process)
            await _edit(crm, given.rate, given.seconds)
            count = int(given.rate * given.seconds)
            await _until("the last edit in the ERP", lambda: _arrived(erp, before[1], count))
            edits = [entry for entry in (await crm.journal())[before[0] :] if entry["object"] == "AccountObj"]
            writes = (await erp.journal())[before[1] :]
            calls = await erp.counts()
            peak, used = peak_mb_of(process), cpu_of(process) - used
    received = await _received(store)
    report = _report(edits, writes, received, given, peak)
    report.extra["hub_cpu_ms_an_edit"] = round(used * 1000 / count, 2)
    report.extra.update({f"erp_calls_{name}": calls[name] - calls_before.get(name, 0) for name in _CALLS})
    return report


async def _there(erp: Desk) -> bool:
    return len(await erp.records("BD_Customer")) >= POOL


async def _arrived(erp: Desk, since: int, count: int) -> bool:
    seen = {entry["after"]["FTEL"] for entry in (await erp.journal())[since:] if entry["object"] == "BD_Customer"}
    return len(seen) >= count


async def _until(what: str, there: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await there():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {PATIENCE:.0f} s")
        await asyncio.sleep(0.2)


async def _edit(crm: Desk, rate: float, seconds: float) -> None:
    """Edits on a fixed beat, whether the ones before have been answered or not: a slow hub gets no pause."""
    async with asyncio.TaskGroup() as group:
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(
                crm.person("update", "AccountObj", f"{number % POOL:024x}", fields={"tel": f"1{number:010d}"})
            )


async def _received(url: str) -> dict[str, list[int]]:
    """When the hub received the webhooks of each record, in order."""
    store = await Store.open(url)
    found: defaultdict[str, list[int]] = defaultdict(list)
    try:
        async with store.read() as conn:
            for events, at in (await conn.execute(select(inbox.c.events, inbox.c.received))).all():
                for event in orjson.loads(events):
                    found[event["id"]].append(at)
    finally:
        await store.close()
    return {id: sorted(times) for id, times in found.items()}


def _report(
    edits: list[dict[str, Any]],
    writes: list[dict[str, Any]],
    received: dict[str, list[int]],
    given: argparse.Namespace,
    peak: float,
) -> Report:
    written = {entry["after"]["FTEL"]: entry["at"] for entry in reversed(writes) if entry["object"] == "BD_Customer"}
    turn: defaultdict[str, int] = defaultdict(int)
    from_edit, from_webhook = [], []
    for edit in edits:
        id, phone = edit["id"], edit["after"]["tel"]
        if phone not in written:
            raise SystemExit(f"the edit {phone} of {id} never came to the ERP")
        from_edit.append(written[phone] - edit["at"])
        from_webhook.append(written[phone] - received[id][turn[id]])
        turn[id] += 1
    extra: dict[str, Any] = {"p50_ms": _quantile(from_webhook, 0.5), "p99_ms": _quantile(from_webhook, 0.99)}
    extra |= {"max_ms": max(from_webhook), "edit_p50_ms": _quantile(from_edit, 0.5)}
    extra |= {"edit_p99_ms": _quantile(from_edit, 0.99), "edits": len(edits), "rate": given.rate}
    extra |= {"asked_p50_ms": ASKED["p50"], "asked_p99_ms": ASKED["p99"]}
    return Report("latency", "ms", _quantile(from_webhook, 0.5), ASKED["p50"], {}, peak, extra)


def _quantile(values: list[int], share: float) -> float:
    return float(sorted(values)[min(len(values) - 1, int(len(values) * share))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0, help="edits a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder, contextlib.ExitStack() as stack:
        url = f"sqlite:///{folder}/hub.db" if given.database == "sqlite" else stack.enter_context(schema())
        print_report(asyncio.run(run(given, Path(folder), url)), as_json=given.json)


if __name__ == "__main__":
    main()
