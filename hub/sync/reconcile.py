"""Reconcile: compare both sides in full, and find what no log shows; repair goes through the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson

from hub.connector.contract import Cursor
from hub.domain.errors import HubError
from hub.domain.record import Record
from hub.store import cursors, identities, runs, scans
from hub.store.engine import Store
from hub.sync.flow import Flow
from hub.sync.gather import Gatherer
from hub.sync.judge import SOURCE_CHANGED, Judged, judge
from hub.sync.preview import works_of
from hub.sync.reading import Progress, Reader
from hub.sync.repair import delete_absent, mend, unmake
from hub.sync.sides import saved, target_pages

_SAMPLES = 1000
_SAVE_EVERY = 2.0  # seconds
_STALE = 86_400_000  # ms after which a scan that was broken off is not worth going on with
_AT_ONCE = 10  # records that may vanish at once, however few there are
_STREAM = "reconcile"


@dataclass(slots=True)
class Finding:
    """One record that is not as it should be.

    `missing`: it should be there and is not. `different`: it says something else. `ghost`: the ID map has a target
    record for it that is gone. `deleted`: the source has it no more, and nobody was told. `owed`: not as it should be,
    and the ledger says why. `unclear`: the target can't tell. `extra`: only the target has it.
    """

    kind: str
    source_id: str | None
    target_id: str | None
    title: str | None
    fields: dict[str, Any] = field(default_factory=dict)  # field -> {"ours": ..., "theirs": ...}
    why: str | None = None


@dataclass(slots=True)
class ReconcileReport:
    """The books of both sides: source = left_out + same + different + missing + ghost + owed + unclear.

    `deleted` are records that the ledger or the ID map knows and the source has no more, `extra` records that only
    the target has. `refused` are deletions and ghosts that a repair left alone, because they are more than `limit`.
    """

    flow: str
    repaired: bool
    source: int = 0
    target: int = 0
    left_out: int = 0
    same: int = 0
    different: int = 0
    missing: int = 0
    ghost: int = 0
    owed: int = 0
    unclear: int = 0
    deleted: int = 0
    extra: int = 0
    refused: int = 0
    limit: int = 0
    resumed: bool = False
    findings: list[Finding] = field(default_factory=list)

    def note(self, finding: Finding) -> None:
        setattr(self, finding.kind, getattr(self, finding.kind) + 1)
        if len(self.findings) < _SAMPLES:
            self.findings.append(finding)

    def counts(self) -> dict[str, int]:
        """The books alone."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if type(value) is int}


@dataclass(slots=True)
class _Scan:
    """How far a reconcile is, in a form that can be kept. `ghosts` are (source id, target id) pairs to be unmade."""

    number: int
    side: str = "source"
    position: Cursor | None = None
    complete: bool = False
    ghosts: list[tuple[str, str]] = field(default_factory=list)


async def reconcile(
    store: Store,
    flow: Flow,
    *,
    repair: bool = False,
    allow_deletes: int | None = None,
    restart: bool = False,
    cause: str = "person",
    progress: Progress | None = None,
) -> ReconcileReport:
    """Translate every source record and hold it against the target's record; then ask after what the source no longer
    shows, and look for target records without a source.

    `repair` goes through the ledger: what is missing or different is captured and made due; a ghost is forgotten and
    its record made again; what the source really has no more (`get` must say so, after a complete scan) is captured
    as deleted, and `on_delete` decides. Ghosts and deletions stay under a limit, the flow's `delete_share`: a side that
    suddenly shows little is more likely broken than emptied. `allow_deletes` lifts it to that many. Extra records are
    shown and left: they may be somebody's own.

    A reconcile that was broken off goes on where it was, with what it found so far, unless `restart` or a day has
    passed since. Raises HubError when a side can't be read.
    """
    work = await _begin(store, flow, repair=repair, restart=restart)
    return await work.run(allow_deletes, cause, progress)


async def _begin(store: Store, flow: Flow, *, repair: bool, restart: bool) -> _Reconciler:
    kept = (await cursors.of_flow(store, flow.name)).get(_STREAM)
    if kept is not None:
        body, at = kept
        if not restart and body["report"]["repaired"] == repair and store.clock.now() - at < _STALE:
            findings = [Finding(**one) for one in body["report"].pop("findings")]
            report = ReconcileReport(**{**body["report"], "findings": findings, "resumed": True})
            ghosts = [(one, other) for one, other in body["scan"].pop("ghosts")]
            return _Reconciler(store, flow, report, _Scan(**body["scan"], ghosts=ghosts))
        await scans.forget(store, body["scan"]["number"])
    return _Reconciler(store, flow, ReconcileReport(flow.name, repair), _Scan(store.ids.next()))


class _Reconciler:
    def __init__(self, store: Store, flow: Flow, report: ReconcileReport, scan: _Scan) -> None:
        self._store = store
        self._flow = flow
        self._report = report
        self._scan = scan
        self._saved_at = store.clock.monotonic()

    async def run(self, allow_deletes: int | None, cause: str, progress: Progress | None) -> ReconcileReport:
        run = await runs.start(self._store, self._flow.name, kind="reconcile", cause=cause)
        try:
            async with runs.alive(self._store, run, self._books):
                if self._scan.side == "source":
                    await self._source(progress)
                    await self._absent(allow_deletes)
                await self._target(progress)
        except HubError as error:
            await self._save()
            await runs.finish(self._store, run, state="failed", counts=self._books(), error=str(error))
            raise
        except BaseException:
            await runs.finish(self._store, run, state="interrupted", counts=self._books())
            raise
        await self._finish()
        await runs.finish(self._store, run, state="finished", counts=self._books())
        return self._report

    # ---- the source --------------------------------------------------------------------------------------------------

    async def _source(self, progress: Progress | None) -> None:
        if self._scan.complete:
            return
        reader = Reader(self._store, self._flow)
        async for page, seen in reader.pages(self._scan.position):
            self._report.source += len(seen)
            works = await works_of(self._store, self._flow, seen)
            await Gatherer(self._store, self._flow).translate(works)
            judged = await judge(self._store, self._flow, works, page.asked)
            again = [one.source_id for one in judged if one.kind == SOURCE_CHANGED]
            if again:
                judged = [one for one in judged if one.kind != SOURCE_CHANGED] + await self._once_more(reader, again)
            for one in judged:
                self._note(one)
            async with self._store.begin() as conn:
                await scans.note(conn, self._scan.number, [one.id for one in seen])
            if self._report.repaired:
                await mend(self._store, self._flow, [one for one in judged if one.kind in ("missing", "different")])
            self._scan.position, self._scan.complete = page.cursor, page.complete
            await self._save_sometimes()
            if progress is not None:
                progress(len(page.changes))

    async def _once_more(self, reader: Reader, ids: Sequence[str]) -> list[Judged]:
        """Records that changed while they were compared; what does not come to rest is the ledger's."""
        asked = self._store.clock.now()
        works = await works_of(self._store, self._flow, [one for one in await reader.fetch(ids) if one.payload])
        await Gatherer(self._store, self._flow).translate(works)
        judged = await judge(self._store, self._flow, works, asked)
        for one in judged:
            if one.kind == SOURCE_CHANGED:
                one.kind, one.why = "owed", "it changes while it is compared"
        return judged

    def _note(self, one: Judged) -> None:
        if one.kind in ("same", "left_out"):
            setattr(self._report, one.kind, getattr(self._report, one.kind) + 1)
            return
        self._report.note(Finding(one.kind, one.source_id, one.target_id, one.title, one.differences, one.why))
        if one.kind == "ghost" and one.target_id is not None:
            self._scan.ghosts.append((one.source_id, one.target_id))

    async def _absent(self, allow_deletes: int | None) -> None:
        """What the ledger or the map knows and a complete scan did not show is a suspicion; `get` must say *gone*."""
        gone: list[str] = []
        if self._scan.complete:
            suspects = await scans.unseen(
                self._store, self._flow.name, self._flow.source.name, self._flow.source_schema.name, self._scan.number
            )
            for seen in await Reader(self._store, self._flow).fetch(suspects):
                if seen.payload is None:
                    gone.append(seen.id)
                    self._report.note(Finding("deleted", seen.id, None, None))
        total = await scans.total(self._store, self._flow.name)
        share = max(_AT_ONCE, int(self._flow.policy.delete_share * total))
        self._report.limit = share if allow_deletes is None else allow_deletes
        if self._report.repaired:
            if self._may(len(gone)):
                await delete_absent(self._store, self._flow, gone)
            if self._may(len(self._scan.ghosts)):
                await unmake(self._store, self._flow, self._scan.ghosts)
        self._scan.side, self._scan.position, self._scan.ghosts = "target", None, []
        await self._save()

    def _may(self, count: int) -> bool:
        allowed = count <= self._report.limit
        self._report.refused += 0 if allowed else count
        return allowed

    # ---- the target --------------------------------------------------------------------------------------------------

    async def _target(self, progress: Progress | None) -> None:
        number = self._flow.target_schema.number_field or self._flow.target_schema.title_field
        async for page in target_pages(self._flow, self._scan.position):
            records = saved(page)
            self._report.target += len(records)
            for record in await self._unlinked(records):
                title = record.fields.get(number) if number else None
                self._report.note(Finding("extra", None, record.id, str(title) if title else None))
            self._scan.position = page.cursor
            await self._save_sometimes()
            if progress is not None:
                progress(len(page.changes))
        await self._linked_meanwhile()

    async def _unlinked(self, records: Sequence[Record]) -> list[Record]:
        async with self._store.read() as conn:
            linked = await _linked(conn, self._flow, [record.id for record in records])
        return [record for record in records if record.id not in linked]

    async def _linked_meanwhile(self) -> None:
        """A record that a delivery made while the target was read was there before the ID map knew whose it is."""
        extra = {one.target_id for one in self._report.findings if one.kind == "extra" and one.target_id}
        async with self._store.read() as conn:
            linked = await _linked(conn, self._flow, sorted(extra))
        self._report.extra -= len(linked)
        self._report.findings = [
            one for one in self._report.findings if one.kind != "extra" or one.target_id not in linked
        ]

    # ---- going on after a break --------------------------------------------------------------------------------------

    def _books(self) -> str:
        return orjson.dumps(self._report.counts()).decode()

    async def _save_sometimes(self) -> None:
        if self._store.clock.monotonic() - self._saved_at >= _SAVE_EVERY:
            await self._save()

    async def _save(self) -> None:
        self._saved_at = self._store.clock.monotonic()
        body = {"report": asdict(self._report), "scan": asdict(self._scan)}
        async with self._store.begin() as conn:
            await cursors.put(conn, self._flow.name, _STREAM, body, self._store.clock.now())

    async def _finish(self) -> None:
        await scans.forget(self._store, self._scan.number)
        async with self._store.begin() as conn:
            await cursors.put(conn, self._flow.name, _STREAM, None, self._store.clock.now())


async def _linked(conn: Any, flow: Flow, ids: Sequence[str]) -> set[str]:
    known = await identities.by_ids(conn, flow.target.name, flow.target_schema.name, ids)
    sources = await identities.of_entities(
        conn, [one.entity for one in known.values()], flow.source.name, flow.source_schema.name
    )
    return {record_id for record_id, one in known.items() if sources.get(one.entity)}
