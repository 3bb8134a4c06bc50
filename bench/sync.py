"""Bench `sync`: capture -> settle between instant systems, beside a hand-written sqlite3 loop of the same rows."""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import create_engine

from bench.report import Report, print_report
from hub.connector.breaker import Breaker
from hub.connector.contract import (
    Cursor,
    FindAnswer,
    GetAnswer,
    GetKind,
    Page,
    ReadRequest,
    Write,
)
from hub.domain.clock import Clock, SystemClock
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Change, Fields, Record
from hub.domain.schema import Capabilities, Field, FieldType, ObjectSchema
from hub.mapping.compile import compile_mapping
from hub.mapping.load import load
from hub.runtime.memory import keep_collector_quiet
from hub.store.engine import Store
from hub.store.tables import metadata
from hub.sync.engine import Engine
from hub.sync.flow import Flow, Policy, System

PAGE = 2000

MAPPING = """
mapping: bench
entity: customer
source: {system: a, object: Customer}
target: {system: b, object: Client}
title: no
match: [[Code]]
fields:
  Code: no
  Name: name
  TaxNo: tax_no
  Phone: phone
  City: city
  Address: address
  Credit: {from: credit, as: decimal}
  Level: level
  Since: since
  Note: note
"""

_SOURCE = {
    "no": FieldType.TEXT,
    "name": FieldType.TEXT,
    "tax_no": FieldType.TEXT,
    "phone": FieldType.TEXT,
    "city": FieldType.TEXT,
    "address": FieldType.TEXT,
    "credit": FieldType.DECIMAL,
    "level": FieldType.TEXT,
    "since": FieldType.TEXT,
    "note": FieldType.TEXT,
}
_TARGET = ("Code", "Name", "TaxNo", "Phone", "City", "Address", "Credit", "Level", "Since", "Note")


def source_schema() -> ObjectSchema:
    fields = {name: Field(name, kind) for name, kind in _SOURCE.items()}
    fields["id"] = Field("id")
    return ObjectSchema("Customer", "Customer", "id", fields, title_field="no")


def target_schema() -> ObjectSchema:
    fields = {name: Field(name) for name in _TARGET}
    fields["Credit"] = Field("Credit", FieldType.DECIMAL)
    fields["id"] = Field("id")
    able = Capabilities(create=True, update=True, write_batch=PAGE, find_batch=PAGE)
    return ObjectSchema("Client", "Client", "id", fields, number_field="Code", capabilities=able)


def records(count: int, seed: int) -> Iterator[Record]:
    """The same customers for the same seed."""
    draw = random.Random(seed)
    for number in range(count):
        fields: Fields = {
            "no": f"K{number:08d}",
            "name": f"客户 {number} 有限公司",
            "tax_no": f"91310000{draw.randrange(10**10):010d}",
            "phone": f"1{draw.randrange(10**10):010d}",
            "city": draw.choice(("上海", "北京", "深圳", "成都")),
            "address": f"{draw.randrange(1000)} 号 {draw.randrange(100)} 室",
            "credit": f"{draw.randrange(10**6)}.00",
            "level": draw.choice("ABC"),
            "since": f"20{draw.randrange(10, 26)}-0{draw.randrange(1, 10)}-11",
            "note": "x" * draw.randrange(40),
            "id": f"{number:024x}",
        }
        yield Record("Customer", f"{number:024x}", fields, 1, 1_700_000_000_000 + number)


class InstantSource:
    """Reads as fast as Python makes records."""

    def __init__(self, count: int, seed: int) -> None:
        self._records = records(count, seed)

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        now = time.time_ns() // 1_000_000
        changes = [Change(record) for record in islice(self._records, PAGE)]
        done = (cursor or {}).get("done", 0) + len(changes)
        return Page(changes, {"done": done}, len(changes) == PAGE, now, now)

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        return [GetAnswer(one, GetKind.CANT_TELL) for one in ids]


class InstantTarget:
    """Takes everything at once, and has nothing."""

    def __init__(self) -> None:
        self.written = 0

    async def find(self, object: str, keys: Sequence[Any], fields: frozenset[str] | None = None) -> list[FindAnswer]:
        return [FindAnswer() for _ in keys]

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        self.written += len(batch)
        codes = [str(write.fields["Code"]) for write in batch]
        return [Outcome(OutcomeKind.OK, f"id-{code}", 1, {"number": code}, {}, ("save",)) for code in codes]


def bench_flow(clock: Clock, source: Any, target: Any, policy: Policy | None = None) -> Flow:
    """The flow `bench` between these two connectors."""
    mapping = compile_mapping(load(MAPPING, "bench.yaml"), source=source_schema(), target=target_schema())
    return Flow(
        "bench",
        mapping,
        System("a", source, Breaker(clock)),
        System("b", target, Breaker(clock)),
        source_schema(),
        target_schema(),
        policy or Policy(batch=PAGE),
    )


async def ours(url: str, count: int, seed: int) -> float:
    """Records a second through capture, resolve, deliver and settle."""
    clock = SystemClock()
    store = await Store.open(url, clock=clock)
    target = InstantTarget()
    engine = Engine(store, {"bench": bench_flow(clock, InstantSource(count, seed), target)})
    began = time.perf_counter()
    reading = asyncio.create_task(engine.read("bench"))
    counts: dict[str, int] = {}
    while not reading.done() or sum(counts.values()) < count:
        for state, done in (await engine.drain("bench")).items():
            counts[state] = counts.get(state, 0) + done
        await asyncio.sleep(0)
    await reading
    took = time.perf_counter() - began
    await store.close()
    if counts.get("done") != count or target.written != count:
        raise SystemExit(f"the hub delivered {counts}, and {target.written} writes came, of {count}")
    return count / took


def by_hand(path: Path, count: int, seed: int, *, life: bool) -> float:
    """Records a second of a loop that somebody would write by hand to keep the same rows.

    With `life` it keeps them as a ledger must: captured and committed, then read back, with the intent committed before
    the write leaves, then settled. Without, it only ever writes their last state.
    """
    db = open_by_hand(path)
    source = records(count, seed)
    began = time.perf_counter()
    key = 1
    while page := list(islice(source, PAGE)):
        if life:
            capture_by_hand(db, page, key)
            deliver_by_hand(db)
        else:
            _last_state(db, page, key)
        key += len(page)
    took = time.perf_counter() - began
    db.close()
    return count / took


def open_by_hand(path: Path) -> sqlite3.Connection:
    """A new database with the hub's tables, as durable as the hub's."""
    create = create_engine(f"sqlite:///{path}")
    metadata.create_all(create)
    create.dispose()
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    return db


def _now() -> int:
    return time.time_ns() // 1_000_000


def _captured(record: Record, key: int) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """The rows that a capture makes: ledger, payload, source identity."""
    now = _now()
    body = orjson.dumps({"record": record.fields}).decode()
    content = blake2b(orjson.dumps(record.fields, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    row = (key, record.id, key, record.fields["no"], now, now, content, now, now, now)
    return row, (key, body), (2 * key, key, "a", "Customer", record.id, None, "captured", now)


def _settled(fields: Fields, key: int) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """The rows that settling makes: target identity, shadow, attempt."""
    now = _now()
    target_id = f"{key:012d}"
    sent = orjson.dumps({"f": fields}).decode()
    names = orjson.dumps(list(fields)).decode()
    identity = (2 * key + 1, key, "b", "Client", target_id, fields["Code"], "created", now)
    return identity, (2 * key + 1, sent, now), (key, key, now, target_id, names)


def translate_by_hand(record: Fields) -> Fields:
    """The ten columns of the mapping `bench`."""
    return {ours: record[theirs] for ours, theirs in zip(_TARGET, _SOURCE, strict=True)}


def _cursor(db: sqlite3.Connection, done: int) -> None:
    db.execute(_CURSOR, (orjson.dumps({"done": done}).decode(), _now()))


def _last_state(db: sqlite3.Connection, page: list[Record], first: int) -> None:
    captured = [_captured(record, first + at) for at, record in enumerate(page)]
    settled = [_settled(translate_by_hand(record.fields), first + at) for at, record in enumerate(page)]
    with db:
        db.executemany(_DELIVERY.format(state="done"), [row for row, _, _ in captured])
        db.executemany(_PAYLOAD, [body for _, body, _ in captured])
        db.executemany(_IDENTITY, [row for _, _, row in captured])
        _insert_settled(db, settled)
        _cursor(db, first + len(page))


def _insert_settled(db: sqlite3.Connection, settled: Sequence[tuple[tuple[Any, ...], ...]]) -> None:
    db.executemany(_IDENTITY, [row for row, _, _ in settled])
    db.executemany(_SHADOW, [row for _, row, _ in settled])
    db.executemany(_ATTEMPT, [row for _, _, row in settled])


def capture_by_hand(db: sqlite3.Connection, page: list[Record], first: int) -> None:
    """A page of records becomes owed; the ids of its rows begin with `first`."""
    captured = [_captured(record, first + at) for at, record in enumerate(page)]
    with db:
        db.executemany(_DELIVERY.format(state="pending"), [row for row, _, _ in captured])
        db.executemany(_PAYLOAD, [body for _, body, _ in captured])
        db.executemany(_IDENTITY, [row for _, _, row in captured])
        _cursor(db, first + len(page))


def deliver_by_hand(db: sqlite3.Connection) -> int:
    """A page of what is due, with its intent committed before the write leaves; how many that were."""
    due = db.execute(
        "SELECT d.id, p.body FROM delivery d JOIN payload p ON p.delivery = d.id WHERE d.flow = 'bench'"
        " AND d.state IN ('pending', 'doubt', 'waiting', 'blocked') AND d.due <= ? ORDER BY d.lane, d.due LIMIT ?",
        (_now(), PAGE),
    ).fetchall()
    work = [(key, translate_by_hand(orjson.loads(body)["record"])) for key, body in due]
    with db:
        db.executemany(
            "INSERT INTO intent (delivery, token, body) VALUES (?, 1, ?)",
            [(key, orjson.dumps([{"op": "create", "at": _now(), "f": fields}]).decode()) for key, fields in work],
        )
    settled = [_settled(fields, key) for key, fields in work]
    with db:
        _insert_settled(db, settled)
        db.executemany(
            "UPDATE delivery SET state = 'done', since = ?, delivered_revision = 1,"
            " fingerprint = 'abcdef0123456789' WHERE id = ?",
            [(_now(), key) for key, _ in work],
        )
        db.executemany("DELETE FROM intent WHERE delivery = ?", [(key,) for key, _ in work])
    return len(work)


_DELIVERY = (
    "INSERT INTO delivery (id, flow, source_id, entity, state, title, due, since, hash, asked, answered, captured,"
    " lane, attempts, deleted, refetch, revision, lease_token)"
    " VALUES (?, 'bench', ?, ?, '{state}', ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 1, 1)"
)
_PAYLOAD = "INSERT INTO payload (delivery, body) VALUES (?, ?)"
_IDENTITY = (
    "INSERT INTO identity (id, entity, system, object, record_id, number, origin, created, kind, role, facet,"
    " usable, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'customer', 'primary', '', 1, 0)"
)
_SHADOW = "INSERT INTO shadow (identity, sent, sent_at) VALUES (?, ?, ?)"
_ATTEMPT = (
    "INSERT INTO attempt (id, delivery, at, target_id, fields, op, outcome, took)"
    " VALUES (?, ?, ?, ?, ?, 'create', 'ok', 1)"
)
_CURSOR = (
    "INSERT INTO cursor VALUES ('bench', 'record', ?, ?)"
    " ON CONFLICT (flow, stream) DO UPDATE SET position = excluded.position"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", help="a PostgreSQL URL instead of SQLite, for the hub's side")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    keep_collector_quiet()
    with tempfile.TemporaryDirectory() as folder:
        url = given.database or f"sqlite:///{folder}/hub.db"
        rate = asyncio.run(ours(url, given.records, given.seed))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        limit = by_hand(Path(folder) / "life.db", given.records, given.seed, life=True)
        last = by_hand(Path(folder) / "last.db", given.records, given.seed, life=False)
    peers = {"hand-written sqlite3 loop, same commits": limit, "hand-written sqlite3 loop, last state only": last}
    print_report(Report("sync", "records/s", rate, limit, peers, peak), as_json=given.json)


if __name__ == "__main__":
    main()
