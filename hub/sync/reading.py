"""The reading side of a flow: pages of changes, hints and single records become captures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.connector.contract import Cursor, GetAnswer, GetKind, Page, ReadRequest
from hub.domain.errors import HubError, VendorError
from hub.domain.record import Change, ChangeKind, Fields, Record
from hub.store import cursors, flows, hints, identities, runs, scans
from hub.store.engine import Store
from hub.sync.capture import Captured, Seen, capture
from hub.sync.failpoints import failpoint
from hub.sync.flow import Flow
from hub.sync.payload import of
from hub.sync.stumble import told

LIVE, BULK = 0, 1

Progress = Callable[[int], None]


@dataclass(slots=True)
class RunReport:
    """What one execution of a reading side did."""

    run: int
    flow: str
    kind: str
    counts: Captured = field(default_factory=Captured)
    unreadable: list[str] = field(default_factory=list)
    gone: int = 0
    suspects: int = 0
    scan: int = 0  # the number under which a full scan notes what it was shown
    complete: bool = False  # the full scan has seen everything there is
    seen: list[Seen] = field(default_factory=list)  # of a run that fetched single records


@dataclass(frozen=True, slots=True)
class Stream:
    """One source object that a flow reads: its own, or a detail object whose changes bring their master along."""

    object: str
    relation: str | None = None
    master_field: str | None = None

    @property
    def name(self) -> str:
        return self.relation or "record"


def streams(flow: Flow) -> list[Stream]:
    """The flow's own object first, then every relation that wakes it."""
    own = [Stream(flow.source_schema.name)]
    details = [Stream(relation.object, relation.name, relation.master_field) for relation in flow.waking]
    return own + details


class Reader:
    """Reads one flow's source. Holds no state of its own: cursors are in the store."""

    def __init__(self, store: Store, flow: Flow) -> None:
        self._store = store
        self._flow = flow
        self._source = flow.source.connector
        self._fields = flow.source_fields

    async def read(
        self,
        *,
        full: bool = False,
        since: int | None = None,
        cause: str = "person",
        progress: Progress | None = None,
    ) -> RunReport:
        """Read every stream to its end. Each page and the cursor that follows it are committed together.

        An incremental read goes on where the last one ended; `since` (epoch ms) reads again from there and
        leaves the cursors alone; `full` scans everything, and asks after what the ledger knows and the scan did not
        show.
        """
        kind = "full" if full else "since" if since is not None else "read"
        run = await runs.start(self._store, self._flow.name, kind=kind, cause=cause)
        report = RunReport(run, self._flow.name, kind)
        try:
            started = await flows.started(self._store, self._flow.name)
            async with runs.alive(self._store, run, lambda: _books(report)):
                for stream in streams(self._flow)[: 1 if full else None]:
                    await self._read_stream(stream, report, started, full=full, since=since, progress=progress)
                if full:
                    await self._absent(report, started)
        except HubError as error:
            await runs.finish(self._store, run, state="failed", counts=_books(report), error=str(error))
            raise
        except BaseException:
            await runs.finish(self._store, run, state="interrupted", counts=_books(report), error=None)
            raise
        await runs.finish(self._store, run, state="finished", counts=_books(report), error=None)
        return report

    async def _read_stream(
        self,
        stream: Stream,
        report: RunReport,
        started: int,
        *,
        full: bool,
        since: int | None,
        progress: Progress | None,
    ) -> None:
        kept = since is None
        name = f"{stream.name}#full" if full else stream.name
        position = await cursors.get(self._store, self._flow.name, name) if kept else None
        if full:
            # A scan that was broken off goes on under its own number, so that what it showed before counts as shown.
            report.scan = position["scan"] if position else report.run
            position = position["at"] if position else None
        first = position is None
        wanted = self._fields if stream.relation is None else self._detail_fields(stream)
        begin = since if since is not None else None if full else self._flow.policy.start
        request = ReadRequest(stream.object, wanted, since=begin, full=full)
        while True:
            page = await self._source.read(request, position)
            seen = await self._seen(stream, page, report)
            async with self._store.begin() as conn:
                counts = await capture(
                    self._store,
                    conn,
                    self._flow,
                    seen,
                    started=started,
                    lane=BULK if full or first or since is not None else LIVE,
                    run=report.run,
                )
                if full:
                    await scans.note(conn, report.scan, [one.id for one in seen])
                if kept:
                    done = full and not page.more
                    following = {"scan": report.scan, "at": page.cursor} if full else page.cursor
                    await cursors.put(conn, self._flow.name, name, None if done else following, self._store.clock.now())
                failpoint("before-capture")
            failpoint("after-capture")
            report.counts.add(counts)
            if progress is not None:
                progress(len(page.changes))
            position = page.cursor
            if not page.more:
                report.complete = page.complete
                return

    def _detail_fields(self, stream: Stream) -> frozenset[str]:
        """Only who the master is: the rows themselves are read with it."""
        return frozenset({stream.master_field or ""})

    async def _seen(self, stream: Stream, page: Page, report: RunReport) -> list[Seen]:
        if stream.relation is None:
            return await self._with_rows(page.changes, page.asked, page.answered)
        masters = {
            str(change.record.fields[stream.master_field])
            for change in page.changes
            if stream.master_field and change.record.fields.get(stream.master_field)
        }
        return await self.fetch(sorted(masters), report)

    async def fetch(self, ids: Sequence[str], report: RunReport | None = None) -> list[Seen]:
        """Records as they are now, with their rows. What can't be told is left as it is, and named in the report."""
        if not ids:
            return []
        answers: list[GetAnswer] = await self._source.get(self._flow.source_schema.name, ids, self._fields)
        found = [Change(one.record) for one in answers if one.kind is GetKind.FOUND and one.record is not None]
        asked = min((one.asked for one in answers), default=0)
        answered = max((one.answered for one in answers), default=0)
        seen = await self._with_rows(found, asked, answered)
        for one in answers:
            if one.kind is GetKind.GONE:
                seen.append(Seen(one.id, None, None, None, one.asked, one.answered))
            elif one.kind is not GetKind.FOUND and report is not None:
                report.unreadable.append(one.id)
        return seen

    async def _with_rows(self, changes: Iterable[Change], asked: int, answered: int) -> list[Seen]:
        """Attach the rows of relations that wake the flow, so that a change to a line is a change to its record."""
        saved = [one.record for one in changes if one.kind is ChangeKind.SAVED]
        gone = [one.record.id for one in changes if one.kind is ChangeKind.DELETED]
        related: dict[str, dict[str, list[Record]]] = {}
        for relation in self._flow.waking:
            if saved:
                related[relation.name] = await self._source.children(
                    relation.object, relation.master_field, [one.id for one in saved], relation.fields
                )
                answered = max(answered, self._store.clock.now())
        result = [
            Seen(
                record.id,
                of(record, {name: _rows(children.get(record.id, [])) for name, children in related.items()}),
                record.version,
                record.modified,
                asked,
                answered,
            )
            for record in saved
        ]
        result.extend(Seen(one, None, None, None, asked, answered) for one in gone)
        return result

    async def scan(self, progress: Progress | None = None) -> AsyncIterator[list[Seen]]:
        """Everything there is, a page at a time, without capturing it."""
        async for page, seen in self.pages():
            yield seen
            if progress is not None:
                progress(len(page.changes))

    async def pages(self, position: Cursor | None = None) -> AsyncIterator[tuple[Page, list[Seen]]]:
        """Everything there is from `position` (a page's cursor) on, a page at a time, with its records' rows."""
        request = ReadRequest(self._flow.source_schema.name, self._fields, full=True)
        while True:
            page: Page = await self._source.read(request, position)
            yield page, await self._with_rows(page.changes, page.asked, page.answered)
            position = page.cursor
            if not page.more:
                return

    async def sample(self, *, since: int | None = None, limit: int = 500) -> list[Seen]:
        """Up to `limit` records that changed since then (or the first ones there are), without capturing them."""
        request = ReadRequest(self._flow.source_schema.name, self._fields, since=since, full=since is None)
        position = None
        found: list[Seen] = []
        while True:
            page = await self._source.read(request, position)
            found += await self._with_rows(page.changes, page.asked, page.answered)
            position = page.cursor
            if not page.more or len(found) >= limit:
                return found[:limit]

    async def capture_records(self, ids: Sequence[str], *, cause: str = "person") -> RunReport:
        """Fetch these records now and capture them, ahead of the bulk lane."""
        run = await runs.start(self._store, self._flow.name, kind="record", cause=cause)
        report = RunReport(run, self._flow.name, "record")
        try:
            report.seen = await self.fetch(ids, report)
            await self.store_seen(report.seen, report)
        except BaseException as error:
            await runs.finish(self._store, run, state="failed", counts=_books(report), error=str(error))
            raise
        await runs.finish(self._store, run, state="finished", counts=_books(report), error=None)
        return report

    async def store_seen(self, seen: Sequence[Seen], report: RunReport) -> None:
        """Capture records that were fetched one by one."""
        started = await flows.started(self._store, self._flow.name)
        async with self._store.begin() as conn:
            counts = await capture(self._store, conn, self._flow, seen, started=started, lane=LIVE, run=report.run)
            failpoint("before-capture")
        failpoint("after-capture")
        report.counts.add(counts)

    async def note_seen(self, conn: AsyncConnection, report: RunReport, *, started: int, begun: int) -> None:
        """Capture what `report` has seen, and write the run down as finished, in the caller's transaction.

        `started` is since when the flow lives, `begun` when the run began; both epoch ms.
        """
        report.counts.add(
            await capture(self._store, conn, self._flow, report.seen, started=started, lane=LIVE, run=report.run)
        )
        await runs.note(
            self._store, conn, report.run, report.flow, kind="record", cause="webhook", started=begun,
            counts=_books(report),
        )  # fmt: skip

    async def _absent(self, report: RunReport, started: int) -> None:
        """What the ledger knows and a complete scan did not show is a suspicion; `get` must answer *gone*.

        A share limit stands above all: a source that suddenly shows little is more likely broken than emptied.
        """
        missing = await scans.missing(self._store, self._flow.name, report.scan) if report.complete else []
        total = await scans.total(self._store, self._flow.name)
        report.suspects = len(missing)
        await scans.forget(self._store, report.scan)
        if not missing:
            return
        if total and len(missing) > max(10, self._flow.policy.delete_share * total):
            raise VendorError(
                f"a full scan of {self._flow.source_schema.name} in {self._flow.source.name} did not show "
                f"{len(missing)} of {total} records that it showed before; nothing was deleted",
                retryable=False,
                hint=f"if they were: hub reconcile {self._flow.name} --repair --allow-deletes {len(missing)}",
            )
        seen = await self.fetch(missing, report)
        report.gone = sum(1 for one in seen if one.payload is None)
        await self.store_seen(seen, report)


async def masters_of(store: Store, flow: Flow, stream: Stream, ids: Sequence[str]) -> list[str]:
    """Which of the flow's records these detail records belong to: by the source, and for those gone, by the ID map."""
    answers: list[GetAnswer] = await flow.source.connector.get(
        stream.object, ids, frozenset({stream.master_field or ""})
    )
    masters: set[str] = set()
    gone: list[str] = []
    for one in answers:
        if one.kind is GetKind.FOUND and one.record is not None and stream.master_field:
            master = one.record.fields.get(stream.master_field)
            if master:
                masters.add(str(master))
        elif one.kind is GetKind.GONE:
            gone.append(one.id)
    async with store.read() as conn:
        masters.update(await identities.parents(conn, flow.source.name, stream.object, gone))
    return sorted(masters)


def _rows(records: Sequence[Record]) -> list[Fields]:
    """Detail records as rows; each keeps its id under its own id field, as the vendor shows it."""
    return [record.fields for record in records]


def _books(report: RunReport) -> str:
    counts = {name: getattr(report.counts, name) for name in Captured.__slots__}
    counts["gone"] = report.gone
    counts["unreadable"] = len(report.unreadable)
    return orjson.dumps(counts).decode()


async def fetch_hints(store: Store, all_flows: Sequence[Flow], limit: int = 500, system: str | None = None) -> int:
    """Turn due hints (of one system) into captures: one fetch for all hints of a record, for every flow that reads it.

    A fetch covers only the hints that were stored before it was asked: a hint whose revision moved meanwhile stays.
    What was fetched, the books of it and the hints that it answers are committed together: a webhook waits for two
    commits, not for five, before its delivery is due.
    """
    taken = await hints.take(store, limit=limit, system=system)
    groups: dict[tuple[str, str], list[hints.Hint]] = {}
    if taken:
        failpoint("after-hints-taken")
    for one in taken:
        groups.setdefault((one.system, one.object), []).append(one)
    for (source, object_name), group in groups.items():
        try:
            reading = [flow for flow in all_flows if flow.source.name == source]
            await _answer_all(store, reading, object_name, group)
        except asyncio.CancelledError:
            await hints.hand_back(store, taken)
            raise
    return len(taken)


async def _answer_all(store: Store, reading: Sequence[Flow], object_name: str, group: Sequence[hints.Hint]) -> None:
    """Answer these hints, or say why not and put them off. One record over which code stumbles keeps no other back."""
    try:
        await _answer(store, reading, object_name, group)
    except HubError as error:
        await _put_off(store, group, str(error))
    except Exception as error:
        if len(group) == 1:
            await _put_off(store, group, told(error, f"{object_name} {group[0].record_id} can't be fetched"))
            return
        middle = len(group) // 2
        for half in (group[:middle], group[middle:]):
            await _answer_all(store, reading, object_name, half)


async def _put_off(store: Store, group: Sequence[hints.Hint], error: str) -> None:
    async with store.begin() as conn:
        await hints.postpone(store, conn, group, error=error)


async def _answer(store: Store, reading: Sequence[Flow], object_name: str, group: Sequence[hints.Hint]) -> None:
    """Fetch what these hints name for every flow, then commit captures, books and the answered hints at once."""
    begun = store.clock.now()
    ids = [one.record_id for one in group]
    fetched = [
        (flow, *await _fetch_for(store, flow, object_name, ids))
        for flow in sorted(reading, key=lambda flow: flow.name)  # every process locks flows in this order
    ]
    failpoint("after-hints-fetched")
    fetched = [one for one in fetched if one[2].seen or one[2].unreadable]
    started = {flow.name: await flows.started(store, flow.name) for flow, _, _ in fetched}
    async with store.begin() as conn:
        for flow, reader, report in fetched:
            await reader.note_seen(conn, report, started=started[flow.name], begun=begun)
        await hints.settle(conn, group)
        failpoint("before-capture")
    failpoint("after-capture")


async def _fetch_for(store: Store, flow: Flow, object_name: str, ids: Sequence[str]) -> tuple[Reader, RunReport]:
    """What these ids of an object mean for a flow: its records as they are now; none if it does not read the object."""
    reader = Reader(store, flow)
    report = RunReport(store.ids.next(), flow.name, "record")
    wanted: set[str] = set()
    for stream in streams(flow):
        if stream.object == object_name:
            wanted.update(ids if stream.relation is None else await masters_of(store, flow, stream, ids))
    report.seen = await reader.fetch(sorted(wanted), report)
    return reader, report
