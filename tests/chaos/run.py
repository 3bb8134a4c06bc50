"""One chaos run from end to end, and what it came to."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from hub.cli.demo.truth import CRM_OBJECTS, ERP_OBJECTS
from hub.sync.failpoints import NAMES
from tests.chaos.checker import WRITES_LIMIT, check
from tests.chaos.deeds import DEEDS, cancel
from tests.chaos.evidence import Evidence
from tests.chaos.hubs import Life
from tests.chaos.nemesis import Nemesis
from tests.chaos.quiet import at_rest, quiet
from tests.chaos.stage import Stage, stage
from tests.chaos.weather import Weather
from tests.chaos.world import Company, live

# This project's webhooks arrive where they are worked on: nothing is pulled from another machine's inbox.
POINTS = tuple(name for name in NAMES if name != "after-pull-stored")

ZERO = ("lost", "duplicates", "stale", "disorder", "overwritten", "orphans", "stuck")

_CALM = 0.15  # share of the changes that are made before the attack begins
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be. `database` is `sqlite` or the URL of a PostgreSQL server's database to stand beside."""

    seed: int = 1
    kills: int = 20
    minutes: float = 1.0
    database: str = "sqlite"
    workers: int = 1
    twin: str | None = None
    changes: int | None = None
    records: int = 40
    weather: bool = True
    points: tuple[str, ...] = POINTS
    every_point: bool = False  # kill at each failpoint once, as long as `kills` last, instead of in between

    @property
    def wanted(self) -> int:
        """How many changes: by default three a second."""
        return self.changes or int(self.minutes * 180)


@dataclass(slots=True)
class Outcome:
    """What a run came to. `kept` is the folder with all that is needed to study a failure; None when nothing failed."""

    figures: dict[str, Any]
    details: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    kept: Path | None = None

    @property
    def clean(self) -> bool:
        bounded = self.figures["writes_per_change"] <= WRITES_LIMIT
        return bounded and not any(self.figures[name] for name in ZERO)


async def play(plan: Plan, say: Callable[[str], None] = lambda what: None) -> Outcome:
    """Run it. A folder with everything is kept when a figure is not zero, or the run itself breaks off.

    `say` is told what is being done.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"hub-chaos-{plan.seed}-"))
    keep = [True]
    try:
        async with stage(folder, plan.database, plan.workers, plan.twin, keep) as on:
            (folder / "database").write_text(on.database.url)
            outcome = await _play(plan, on, say)
            if outcome.clean:
                keep.append(False)
            else:
                outcome.kept = folder
    except BaseException as error:
        error.add_note(f"what there is stands in {folder}")
        raise
    if outcome.kept is None:
        shutil.rmtree(folder)
    return outcome


async def _play(plan: Plan, on: Stage, say: Callable[[str], None]) -> Outcome:
    say("the company opens")
    company = Company(plan.seed, plan.records, on.crm, on.erp)
    await company.begin()
    for slot in on.hubs.slots:
        await on.hubs.start(slot, Life())
    await on.subscribe()
    await _products_are_there(on, company)
    await company.open_shop()
    say("everything finds its way for the first time")
    await at_rest(on, waiting=False)
    company.diary.changes = 0

    calm = int(plan.wanted * _CALM)
    pace = plan.minutes * 60 / (plan.wanted - calm)
    say(f"{calm} changes undisturbed, then {plan.wanted - calm} under attack")
    undisturbed = await _throughput(on, company, calm, calm * pace)
    disturbed, faults, unreached, left = await _attack(plan, on, company, plan.wanted - calm, say)
    say("the hub is told to end")
    await on.hubs.stop()

    evidence = await _evidence(on, company)
    _write_down(on.folder, plan, evidence)
    found = check(evidence)
    figures = {name: value for name, value in asdict(found).items() if name != "details"}
    stuck = figures["stuck"] or len(left)
    order = {
        "seed": plan.seed,
        "kills": sum(count for name, count in faults.items() if name.startswith("kill ")),
        "faults": dict(sorted(faults.items())),
        "changes": company.diary.changes,
        **figures,
        "stuck": stuck,
        "throughput_ratio": round(disturbed / undisturbed, 2) if undisturbed else None,
    }
    return Outcome(order, [*left, *found.details], unreached, company.diary.refused)


async def _attack(
    plan: Plan, on: Stage, company: Company, changes: int, say: Callable[[str], None]
) -> tuple[float, Counter[str], list[str], list[str]]:
    """The attack, until all has come to rest after it. The throughput, what was done, and what would not rest."""
    seconds = plan.minutes * 60
    weather = Weather(plan.seed, on.crm, on.erp)
    nemesis = Nemesis(plan.seed, on.hubs, kills=plan.kills, seconds=seconds, points=plan.points)
    if plan.every_point:
        nemesis.only_once()
    over = asyncio.Event()
    blowing = asyncio.create_task(weather.change()) if plan.weather else None
    striking = asyncio.create_task(nemesis.strike())
    began, before = time.monotonic(), await _settled(on)
    deeds = {**DEEDS, cancel: 5 * DEEDS[cancel]} if plan.every_point else DEEDS  # else one of them is rarely passed
    try:
        await live(company, deeds, changes=changes, seconds=seconds, stop=over)
        while not striking.done():  # the world goes on for as long as anybody is killed
            await live(company, deeds, changes=5, seconds=5 * seconds / changes, stop=over)
        await striking
    finally:
        for task in (striking, blowing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    say(f"the attack is over after {time.monotonic() - began:.0f} s: {dict(nemesis.killed)}; until all is quiet")
    struck = await weather.clear()
    await nemesis.rest()
    await company.close_shop()
    left = await quiet(on)
    took = time.monotonic() - began
    (on.folder / "lives.txt").write_text("\n".join(map(str, on.hubs.deaths)))
    faults = Counter({f"kill {name}": count for name, count in nemesis.killed.items()})
    faults.update(nemesis.asleep)
    faults.update(struck)
    return (await _settled(on) - before) / took, faults, nemesis.unreached, left


async def _throughput(on: Stage, company: Company, changes: int, seconds: float) -> float:
    """Deliveries brought to rest a second, while people make changes at this rate, until all is quiet."""
    began, before = time.monotonic(), await _settled(on)
    await live(company, DEEDS, changes=changes, seconds=seconds, stop=asyncio.Event())
    await at_rest(on, waiting=False)
    return (await _settled(on) - before) / (time.monotonic() - began)


async def _settled(on: Stage) -> int:
    """How many writes have been confirmed, by the hub's own history."""
    rows = await on.database.rows("SELECT count(*) AS n FROM attempt WHERE outcome = 'ok'")
    return int(rows[0]["n"]) if rows else 0


async def _products_are_there(on: Stage, company: Company) -> None:
    """Wait until the hub has brought the products: without them nothing can be sold."""
    wanted = sum(row["FDocumentStatus"] == "C" for row in await on.erp.records("BD_MATERIAL"))
    async with asyncio.timeout(180):
        while len(await on.crm.records("ProductObj")) < wanted:  # noqa: ASYNC110 - the simulator tells no event
            await asyncio.sleep(0.3)


async def _evidence(on: Stage, company: Company) -> Evidence:
    """Everything as it stands. Nothing of the hub runs any more."""
    deliveries = await on.database.rows("SELECT * FROM delivery")
    dead, held = await _on_purpose(on, company, deliveries)
    return Evidence(
        crm_records={name: {row["_id"]: row for row in await on.crm.records(name)} for name in CRM_OBJECTS},
        erp_records={name: {_key(row): row for row in await on.erp.records(name)} for name in ERP_OBJECTS},
        crm_journal=await on.crm.journal(),
        erp_journal=await on.erp.journal(),
        identities=await on.database.rows("SELECT * FROM identity"),
        deliveries=deliveries,
        attempts=await on.database.rows("SELECT * FROM attempt"),
        changes=company.diary.changes,
        expected_dead=dead,
        expected_held=held,
        people=company.diary.entries,
    )


async def _on_purpose(
    on: Stage, company: Company, deliveries: list[dict[str, Any]]
) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
    """What the world saw to itself: orders that must be refused, and states that have nowhere to go.

    The state of an order in the ERP has no order in the CRM to be written into once that was withdrawn, nor has the
    note of how its delivery fared; whether there is such a delivery at all depends on when it was withdrawn.
    """
    live = {row["name"] for row in await on.crm.records("SalesOrderObj")}
    withdrawn = {one.id for one in company.orders.values() if one.name not in live}
    orphaned = {
        str(row["FID"])
        for row in await on.erp.records("SAL_SaleOrder")
        if row["F_CRM_NO"] and row["F_CRM_NO"] not in live
    }
    nowhere = {("orders-to-erp.back", id) for id in withdrawn} | {("order-status-to-crm", id) for id in orphaned}
    stands: dict[str, set[tuple[str, str]]] = {"dead": set(), "held": set()}
    for row in deliveries:
        key = (row["flow"], row["source_id"])
        if row["state"] in stands and key in nowhere and row["reason"] == "gone":
            stands[row["state"]].add(key)
    dead = {("orders-to-erp", id) for id in company.refused_orders} | stands["dead"]
    return frozenset(dead), frozenset(stands["held"])


def _key(row: dict[str, Any]) -> str:
    return str(next(row[name] for name in ("FID", "FCUSTID", "FMATERIALID") if name in row))


def _write_down(folder: Path, plan: Plan, evidence: Evidence) -> None:
    body = {**asdict(evidence), "plan": asdict(plan)}
    option = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    (folder / "evidence.json").write_bytes(orjson.dumps(body, default=_plain, option=option))


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)
