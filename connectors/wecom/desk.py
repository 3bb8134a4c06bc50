"""What the connector asks of each kind of object: read, get, find, write. A desk has what its vendor's desk has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from connectors.wecom.client import Body, Refusal, WeComClient
from connectors.wecom.settings import WeComSettings
from hub.connector.catalogue import Catalogue
from hub.connector.codes import Verdict
from hub.connector.contract import Cursor, FindAnswer, GetAnswer, GetKind, Op, Page, ReadRequest, Write
from hub.connector.kit import Kit
from hub.domain.errors import HubError, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Change, Fields, Record
from hub.domain.schema import ObjectSchema

T = TypeVar("T")
R = TypeVar("R")


class Desk:
    """The common half of all desks: what it lacks is refused in words."""

    def __init__(self, settings: WeComSettings, kit: Kit, client: WeComClient, catalogue: Catalogue) -> None:
        self.settings = settings
        self.kit = kit
        self.client = client
        self.catalogue = catalogue
        self._few = asyncio.Semaphore(settings.concurrency)

    async def schema(self, object: str) -> ObjectSchema:
        """The object as it is described now. Raises NotFound."""
        return self.catalogue.schema(object)

    async def read(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        raise VendorError(
            f"WeCom has no list of {schema.label}; {schema.name} can only be written",
            retryable=False,
            hint="make it the target of a flow, not its source",
        )

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        """One record; None when it is gone. Raises Refusal and what a read raises."""
        raise Refusal("", f"{schema.label} can't be read", Verdict(OutcomeKind.REJECTED))

    async def find(
        self, schema: ObjectSchema, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        return [FindAnswer(cant_tell=True) for _ in keys]

    async def create(self, schema: ObjectSchema, write: Write) -> Outcome:
        return refused(f"{schema.label} ({schema.name}) can't be created through the API")

    async def update(self, schema: ObjectSchema, write: Write) -> Outcome:
        return refused(f"{schema.label} ({schema.name}) can't be changed through the API once it stands")

    async def delete(self, schema: ObjectSchema, write: Write) -> Outcome:
        return refused(f"{schema.label} ({schema.name}) can't be deleted through the API")

    async def operate(self, schema: ObjectSchema, write: Write) -> Outcome:
        names = ", ".join(sorted(schema.capabilities.operations)) or "none"
        return refused(f"{schema.name} has no operation '{write.operation}'; it has {names}")

    # -- for all ------------------------------------------------------------------------------------------------------

    async def get(self, schema: ObjectSchema, ids: Sequence[str], fields: frozenset[str] | None) -> list[GetAnswer]:
        """Records by id, a call each, side by side."""
        wanted = list(dict.fromkeys(ids))
        answers = dict(zip(wanted, await self.each(wanted, lambda id: self._answer(schema, id, fields)), strict=True))
        return [answers[id] for id in ids]

    async def _answer(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> GetAnswer:
        asked = self.kit.clock.now()
        try:
            record = await self.get_one(schema, id, fields)
        except Refusal as refusal:
            if refusal.refuses_us:
                raise refusal.error() from None
            kinds = {OutcomeKind.GONE: GetKind.GONE, OutcomeKind.BLOCKED: GetKind.NO_RIGHTS}
            kind = kinds.get(refusal.verdict.kind, GetKind.CANT_TELL)
            return GetAnswer(id, kind, None, asked, self.kit.clock.now())
        kind = GetKind.FOUND if record is not None else GetKind.GONE
        return GetAnswer(id, kind, record, asked, self.kit.clock.now())

    async def write(self, schema: ObjectSchema, write: Write) -> Outcome:
        """One write, its outcome whatever happens."""
        known = {"save"}
        if unknown := set(write.steps) - known:
            return refused(f"{schema.name} has no step {', '.join(sorted(unknown))}")
        if "save" in write.done and write.op is Op.CREATE:
            return Outcome(OutcomeKind.OK, id=write.id, steps=("save",))
        if write.op is not Op.CREATE and not write.id:
            return refused(f"{write.op} of {schema.name} names no record")
        if unknown := {name for name in (*write.fields, *write.rows) if name not in schema.fields}:
            name = sorted(unknown)[0]
            return refused(f"{schema.name} has no field '{name}'", field=name)
        work = {Op.CREATE: self.create, Op.UPDATE: self.update, Op.DELETE: self.delete, Op.OPERATION: self.operate}
        return await work[write.op](schema, write)

    async def sent(self, path: str, body: Body | None, write: Write, **params: str) -> Body | Outcome:
        """One call of a write: its answer, or already its outcome."""
        try:
            return (await self.client.write(path, body, write.timeout, params)).body
        except (Refusal, HubError) as error:
            return self.client.failed(error)

    async def each(self, members: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
        """Work done for each, a few at a time, in order."""

        async def one(member: T) -> R:
            async with self._few:
                return await work(member)

        return list(await asyncio.gather(*(one(member) for member in members)))

    def record(
        self, schema: ObjectSchema, id: str, values: Fields, fields: frozenset[str] | None, modified: int | None = None
    ) -> Record:
        """A whole record: every field that was asked for, null where the platform says nothing."""
        names = schema.fields if fields is None else [name for name in schema.fields if name in fields]
        return Record(schema.name, id, {name: values.get(name) for name in names}, modified=modified)

    def one_pass(self, changes: list[Change], cursor: Cursor, *, more: bool, asked: int, full: bool) -> Page:
        """A page of an object that has no modification times: every read of it is a pass over all of it, and the hub's
        ledger drops what it knows already."""
        following = cursor if more else {}
        return Page(changes, following, more, asked, self.kit.clock.now(), complete=full and not more)


def refused(message: str, *, field: str | None = None) -> Outcome:
    """What is wrong with a write before it leaves."""
    return Outcome(OutcomeKind.REJECTED, failure=Failure(message, field=field))


def milliseconds(seconds: Any) -> int | None:
    """Unix seconds, as a number or a text, as epoch milliseconds; None where there is no time."""
    return int(seconds) * 1000 if str(seconds).isdigit() and int(seconds) > 0 else None


def carries(record: Record, key: Mapping[str, Any]) -> bool:
    """Whether a record has exactly these values; empty ones match nothing."""
    return bool(key) and all(
        value not in (None, "", []) and record.fields.get(name) == value for name, value in key.items()
    )
