"""The bench a conformance case works at: a served simulator, a connector, and an ear on every log line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hub.connector.conformance.harness import Harness
from hub.connector.contract import (
    Connector,
    Cursor,
    Finds,
    GetAnswer,
    GetKind,
    HasFiles,
    Op,
    Page,
    ReadRequest,
    Reads,
    Write,
    Writes,
)
from hub.connector.faults import Fault, FaultKind
from hub.connector.kit import Kit
from hub.connector.serving import serve
from hub.connector.simulator import Simulator
from hub.connector.tokens import MemoryTokens
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Change, ChangeKind, Record
from hub.domain.schema import ObjectSchema

_MOST_PAGES = 100
_LACKS = "the connector has no power {}; its manifest must exempt this case"


class Broken(AssertionError):
    """A connector breaks a rule of the contract."""


def must(held: object, rule: str) -> None:
    """Raise Broken with the rule unless it held."""
    if not held:
        raise Broken(rule)


def broken(rule: str) -> NoReturn:
    raise Broken(rule)


class _Ear(logging.Handler):
    """Keeps every log line as it would be written, with its traceback."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass(slots=True)
class Bench:
    """Everything a case needs. `heard` collects log lines; `slept` what the connector waited for, in seconds."""

    harness: Harness
    simulator: Simulator
    settings: dict[str, Any]
    tokens: MemoryTokens = field(default_factory=MemoryTokens)
    slept: list[float] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    _ear: _Ear = field(default_factory=_Ear)
    _open: list[Connector] = field(default_factory=list)
    _connector: Connector | None = None

    @property
    def object(self) -> str:
        return self.harness.object

    @property
    def connector(self) -> Connector:
        """The connector under test."""
        if self._connector is None:
            self._connector = self.another()
        return self._connector

    def another(self, settings: Mapping[str, Any] | None = None, *, fresh_tokens: bool = False) -> Connector:
        """One more connector to the same system, as a second worker would have it."""

        async def sleep(seconds: float) -> None:
            # Waiting moves the clock of hub and vendor alike, so that a case lasts no longer than its calls.
            self.slept.append(seconds)
            self.simulator.clock.advance(seconds)
            await asyncio.sleep(0)

        tokens = MemoryTokens() if fresh_tokens else self.tokens
        kit = Kit.local(self.harness.name, clock=self.simulator.clock, sleep=sleep, tokens=tokens)
        connector = self.harness.connector(self.settings if settings is None else settings, kit)
        self._open.append(connector)
        return connector

    def arm(self, kind: FaultKind, op: str = "", **more: Any) -> None:
        self.simulator.faults.arm(Fault(kind=kind, op=op, **more))

    def reads(self, connector: Connector | None = None) -> Reads:
        connector = connector or self.connector
        if not isinstance(connector, Reads):
            broken(_LACKS.format("Reads"))
        return connector

    def finds(self, connector: Connector | None = None) -> Finds:
        connector = connector or self.connector
        if not isinstance(connector, Finds):
            broken(_LACKS.format("Finds"))
        return connector

    def writes(self, connector: Connector | None = None) -> Writes:
        connector = connector or self.connector
        if not isinstance(connector, Writes):
            broken(_LACKS.format("Writes"))
        return connector

    def files(self, connector: Connector | None = None) -> HasFiles | None:
        """The connector if it carries files; None: the cases of files do not concern it."""
        connector = connector or self.connector
        if not isinstance(connector, HasFiles):
            return None
        must(self.harness.file and self.harness.upload_op and self.harness.download_op, "the harness names no files")
        return connector

    async def schema(self) -> ObjectSchema:
        return await self.connector.describe(self.object)

    async def seed(self, count: int, start: int = 0) -> list[str]:
        """Records that people made, old enough for every read to see them."""
        ids = await self.harness.seed(self.simulator, start, count)
        self.simulator.clock.advance(self.harness.lag + 1)
        return ids

    async def create(self, *numbers: int, timeout: float = 10.0) -> list[Outcome]:
        """Write these samples through the connector."""
        batch = [Write(Op.CREATE, fields=self.harness.sample(n), timeout=timeout) for n in numbers]
        return await self.write(batch)

    async def write(self, batch: Sequence[Write]) -> list[Outcome]:
        outcomes = await self.writes().write(self.object, batch)
        must(len(outcomes) == len(batch), f"write gave {len(outcomes)} outcomes for {len(batch)} writes")
        self.shown.extend(repr(outcome) for outcome in outcomes)
        return outcomes

    async def get(self, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        answers = await self.reads().get(self.object, ids, fields)
        must([a.id for a in answers] == list(ids), "get must answer every id in the order asked")
        return answers

    async def got(self, id: str) -> Record:
        (answer,) = await self.get([id])
        if answer.record is None:
            broken(f"get of an existing record said {answer.kind}")
        must(answer.kind is GetKind.FOUND, f"get of an existing record said {answer.kind}")
        return answer.record

    async def pages(
        self,
        *,
        full: bool = False,
        cursor: Cursor | None = None,
        since: int | None = None,
        restart: bool = False,
    ) -> AsyncIterator[Page]:
        """Pages until there are no more. With `restart` each is read by a new connector from a stored cursor."""
        request = ReadRequest(self.object, since=since, full=full)
        for _ in range(_MOST_PAGES):
            reader = self.reads(self.another()) if restart else self.reads()
            page = await reader.read(request, None if cursor is None else stored(cursor))
            must(page.asked <= page.answered, "a page must have been asked before it was answered")
            cursor = page.cursor
            yield page
            if not page.more:
                return
        broken(f"read did not end after {_MOST_PAGES} pages")

    async def read_all(self, **how: Any) -> tuple[list[Change], Cursor]:
        """All changes of all pages, and the last cursor."""
        changes: list[Change] = []
        cursor: Cursor = {}
        async for page in self.pages(**how):
            changes.extend(page.changes)
            cursor = page.cursor
        return changes, cursor

    def truthful(self, outcomes: Sequence[Outcome], numbers: Sequence[int]) -> None:
        """Outcomes of creates tell what the journal knows: nothing twice, nothing denied, nothing claimed."""
        for outcome, n in zip(outcomes, numbers, strict=True):
            made = self.harness.made(self.simulator, n)
            must(made <= 1, f"one create was executed {made} times")
            if outcome.kind in {OutcomeKind.OK, OutcomeKind.PARTLY}:
                must(made == 1, f"{outcome.kind} was reported for a create that the system never committed")
                must(outcome.id, f"{outcome.kind} must carry the new id")
            elif outcome.kind is not OutcomeKind.UNKNOWN:
                must(made == 0, f"{outcome.kind} was reported for a create that the system did commit")

    def show(self, *things: Any) -> None:
        """Note what a person could come to see of these: their repr, message and traceback."""
        for thing in things:
            self.shown.append(repr(thing))
            self.shown.append(str(thing))
            if isinstance(thing, BaseException):
                self.shown.extend(traceback.format_exception(thing))

    def require_no_secrets(self) -> None:
        """No secret stands in any log line or in anything shown."""
        secrets = [secret for secret in self.harness.secrets(self.simulator) if secret]
        for where, lines in (("a log line", self._ear.lines), ("an error or repr", self.shown)):
            for line in lines:
                for secret in secrets:
                    if secret in line:
                        broken(f"a secret stands in {where}: {line.replace(secret, '<SECRET>')[:300]}")

    async def aclose(self) -> None:
        for connector in self._open:
            await connector.aclose()


@contextlib.asynccontextmanager
async def bench(harness: Harness) -> AsyncIterator[Bench]:
    """Serve the harness's simulator, listen to all logs at DEBUG, and look for secrets in the end."""
    simulator = harness.simulator()
    async with serve(simulator) as running:
        place = Bench(harness, running.simulator, dict(simulator.settings()))
        root = logging.getLogger()
        level = root.level
        root.addHandler(place._ear)
        root.setLevel(logging.DEBUG)
        try:
            yield place
            place.require_no_secrets()
        except Exception as error:
            place.show(error)
            raise
        finally:
            root.setLevel(level)
            root.removeHandler(place._ear)
            await place.aclose()


def stored(cursor: Cursor) -> Cursor:
    """The cursor as it comes back from the store."""
    found: Cursor = json.loads(json.dumps(cursor))
    return found


def latest(changes: Iterable[Change]) -> dict[str, Record | None]:
    """The last state that a series of changes tells of each record (None: deleted)."""
    return {change.record.id: None if change.kind is ChangeKind.DELETED else change.record for change in changes}
