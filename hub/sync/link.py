"""Link: build the ID map in bulk for records that exist on both sides, and move no field by doing so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.connector.contract import GetAnswer, GetKind
from hub.domain.delivery import State
from hub.domain.errors import InvalidInput
from hub.domain.record import Record
from hub.mapping.result import MatchKey
from hub.store import claims, identities
from hub.store.engine import Store
from hub.sync.flow import Flow
from hub.sync.gather import Gatherer, load
from hub.sync.locate import describe, empty, key_value, usable, vetoed
from hub.sync.reading import Progress, Reader, RunReport
from hub.sync.resolve import Resolver
from hub.sync.settle import Settler
from hub.sync.sides import renderings, source_works, target_records
from hub.sync.work import Verdict, Work

_BATCH = 200
_SAMPLES = 1000
_LEASE = 300.0


@dataclass(slots=True)
class Candidate:
    """A source record that could not be linked by itself, and why."""

    source_id: str
    title: str | None
    targets: list[str]
    why: str


@dataclass(slots=True)
class LinkReport:
    """What linking found: `single` pairs can be linked; `several` are for a person; `none` exist on one side only."""

    flow: str
    dry_run: bool
    source: int = 0
    target: int = 0
    linked_before: int = 0
    single: int = 0
    several: int = 0
    none: int = 0
    left_out: int = 0  # records that a rule of the mapping keeps from travelling
    linked: int = 0
    held: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)


class _Index:
    """The target's records by their match keys: ids only, with what vetoes, so that memory grows by keys and not by
    records.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._by_key: list[dict[tuple[Any, ...], list[Record]]] = [{} for _ in flow.mapping.match]

    def add(self, record: Record) -> None:
        for strength, spec in enumerate(self._flow.mapping.match):
            values = {name: record.fields.get(name) for name in spec.fields}
            if any(empty(value) for value in values.values()):
                continue
            kept = Record(record.object, record.id, {name: record.fields.get(name) for name in spec.veto})
            normalise = {name: one for name, one in spec.fields.items() if one is not None}
            key = key_value(self._flow, MatchKey(values, normalise=normalise))
            self._by_key[strength].setdefault(key, []).append(kept)

    def hits(self, keys: Sequence[MatchKey]) -> tuple[list[Record], MatchKey | None]:
        """The records of the strongest key that has any."""
        for strength, key in enumerate(keys):
            if usable(key):
                found = self._by_key[strength].get(key_value(self._flow, key), [])
                if found:
                    return found, key
        return [], None


async def link(store: Store, flow: Flow, *, dry_run: bool, progress: Progress | None = None) -> LinkReport:
    """Read both sides in full, match them by the mapping's keys, and (unless it is a dry run) link the single pairs.

    A pair is single when one target record carries the key, nothing contradicts, and no other source record claims it.
    """
    if not flow.mapping.match:
        raise InvalidInput(f"the mapping of flow {flow.name} has no match keys", hint="add `match:` to the mapping")
    report = LinkReport(flow.name, dry_run)
    index = _Index(flow)
    async for records in target_records(flow, progress):
        report.target += len(records)
        for record in records:
            index.add(record)
    pairs = await _pairs(store, flow, index, report, progress)
    report.single = len(pairs)
    report.pairs = pairs[:_SAMPLES]
    if not dry_run:
        for start in range(0, len(pairs), _BATCH):
            await _apply(store, flow, pairs[start : start + _BATCH], report)
            if progress is not None:
                progress(len(pairs[start : start + _BATCH]))
    return report


async def _pairs(
    store: Store, flow: Flow, index: _Index, report: LinkReport, progress: Progress | None
) -> list[tuple[str, str]]:
    chosen: list[tuple[str, str, str | None]] = []
    async for works in source_works(store, flow, progress):
        report.source += len(works)
        open_works = []
        for work in works:
            if any(task.target is not None for task in work.tasks):
                report.linked_before += 1
            elif not renderings(work):
                report.left_out += 1
            else:
                open_works.append(work)
        await _choose(store, flow, index, open_works, chosen, report)
    claims = Counter(target for _, target, _ in chosen)
    pairs = []
    for source, target, title in chosen:
        if claims[target] == 1:
            pairs.append((source, target))
        else:
            _several(report, source, title, [target], f"{claims[target]} records of {flow.source.name} match it")
    return pairs


async def _choose(
    store: Store,
    flow: Flow,
    index: _Index,
    works: Sequence[Work],
    chosen: list[tuple[str, str, str | None]],
    report: LinkReport,
) -> None:
    found = [(work, *index.hits(renderings(work)[0].match)) for work in works]
    owners = await _owners(store, flow, [hit.id for _, hits, _ in found for hit in hits])
    for work, hits, key in found:
        source, title = work.claimed.source_id, work.title
        if not hits or key is None:
            report.none += 1
        elif len(hits) > 1:
            _several(report, source, title, [hit.id for hit in hits], f"{len(hits)} records carry {describe(key)}")
        elif (name := vetoed(flow, key, hits[0])) is not None:
            _several(report, source, title, [hits[0].id], f"the same {', '.join(key.fields)}, but another {name}")
        elif hits[0].id in owners:
            _several(report, source, title, [hits[0].id], "it is linked to another record")
        else:
            chosen.append((source, hits[0].id, title))


def _several(report: LinkReport, source: str, title: str | None, targets: list[str], why: str) -> None:
    report.several += 1
    if len(report.candidates) < _SAMPLES:
        report.candidates.append(Candidate(source, title, targets, why))


async def _owners(store: Store, flow: Flow, ids: Sequence[str]) -> set[str]:
    """Target records that belong to a record of the source already."""
    async with store.read() as conn:
        known = await identities.by_ids(conn, flow.target.name, flow.target_schema.name, ids)
        sources = await identities.of_entities(
            conn, [one.entity for one in known.values()], flow.source.name, flow.source_schema.name
        )
    return {record_id for record_id, one in known.items() if sources.get(one.entity)}


async def _apply(store: Store, flow: Flow, pairs: Sequence[tuple[str, str]], report: LinkReport) -> None:
    """Link a batch, then take what both sides say now for the baseline of every direction."""
    linked = await baseline(store, flow, pairs)
    report.linked += len(linked)
    report.held += len(pairs) - len(linked)
    if flow.partner is not None and linked:
        await baseline(store, flow.partner, [(target, source) for source, target in linked])


async def baseline(store: Store, flow: Flow, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Make (source id, target id) pairs one entity each, with today's rendering counting as sent.

    Both records are read anew, in lists. Returns the pairs that came to rest; what could not (its rows don't pair,
    it was changed meanwhile) stays in the ledger with its reason.
    """
    targets: list[GetAnswer] = await flow.target.connector.get(
        flow.target_schema.name, [target for _, target in pairs], flow.target_fields
    )
    records = {
        source: answer.record
        for (source, _), answer in zip(pairs, targets, strict=True)
        if answer.kind is GetKind.FOUND and answer.record is not None
    }
    reader = Reader(store, flow)
    await reader.store_seen(await reader.fetch(list(records)), RunReport(0, flow.name, "link"))
    claimed = await claims.claim(
        store, flow.name, limit=len(records), lease=_LEASE, holder="link", source_ids=list(records), resting=True
    )
    try:
        works = await load(store, flow, claimed)
        await Gatherer(store, flow).translate([work for work in works if work.payload is not None])
        resolver = Resolver(store, flow)
        for work in works:
            resolver.take_baseline(work, records[work.claimed.source_id])
            work.verdict = work.verdict or Verdict(State.HELD, "link", "it can't be linked: it does not travel")
        await Settler(store, flow).settle(works)
    finally:
        claims.give_back(store, claimed)
    at_rest = {work.claimed.source_id for work in works if work.verdict and work.verdict.state is State.UNCHANGED}
    return [(source, target) for source, target in pairs if source in at_rest]
