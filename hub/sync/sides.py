"""Reading both sides of a flow in full: what linking and reconciling stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hub.connector.contract import Cursor, Page, ReadRequest
from hub.domain.record import ChangeKind, Record
from hub.mapping.result import Rendered
from hub.store.engine import Store
from hub.sync.flow import Flow
from hub.sync.gather import Gatherer
from hub.sync.preview import works_of
from hub.sync.reading import Progress, Reader
from hub.sync.work import Work


async def target_records(flow: Flow, progress: Progress | None = None) -> AsyncIterator[list[Record]]:
    """Every record of the target object, a page at a time."""
    async for page in target_pages(flow):
        if progress is not None:
            progress(len(page.changes))
        yield saved(page)


async def target_pages(flow: Flow, position: Cursor | None = None) -> AsyncIterator[Page]:
    """Every record of the target object from `position` (a page's cursor) on, a page at a time."""
    request = ReadRequest(flow.target_schema.name, flow.target_fields, full=True)
    while True:
        page: Page = await flow.target.connector.read(request, position)
        yield page
        position = page.cursor
        if not page.more:
            return


def saved(page: Page) -> list[Record]:
    """The records that a page shows as being there."""
    return [change.record for change in page.changes if change.kind is ChangeKind.SAVED]


async def source_works(store: Store, flow: Flow, progress: Progress | None = None) -> AsyncIterator[list[Work]]:
    """Every record of the source, translated, a page at a time, with the target identity and shadow that it has."""
    async for seen in Reader(store, flow).scan(progress):
        works = await works_of(store, flow, seen)
        await Gatherer(store, flow).translate(works)
        yield works


def renderings(work: Work) -> list[Rendered]:
    """What a work would write: empty when a rule keeps it from travelling."""
    return work.result if isinstance(work.result, list) else []
