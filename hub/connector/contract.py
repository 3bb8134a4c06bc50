"""What every connector gives the hub: small protocols, one for each power, and the types that pass between.

The duties are those of the connector guide (`docs/connectors.md`); the conformance suite names them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from hub.connector.files import FileStream
from hub.domain.outcome import Outcome
from hub.domain.record import Change, Fields, Record, RowsWrite, Value
from hub.domain.schema import ObjectSchema

Cursor = dict[str, Any]  # JSON; its meaning is the connector's own


class Level(StrEnum):
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Who a connector is. `exempt` maps a conformance case that does not apply to the reason why."""

    name: str
    vendor: str
    title: str
    api: str
    docs: str
    level: Level
    settings: type[BaseModel]
    exempt: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what `check()` found, in plain words. `ok=False` needs a `hint` that says what to do."""

    what: str
    ok: bool
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    name: str
    label: str
    custom: bool = False


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What to read of an object.

    `fields` are flat field names of its schema (tables by their name; None = all). `since` (epoch ms) bounds an
    incremental read whose cursor is still empty. `full` asks for a complete, unfiltered scan in a stable order of ids.
    """

    object: str
    fields: frozenset[str] | None = None
    since: int | None = None
    full: bool = False


@dataclass(slots=True)
class Page:
    """One page of changes, and the cursor that follows it.

    `[asked, answered]` are milliseconds of the hub's clock around the call. `more` tells that another page is to be had
    now; `complete` that a full scan has ended and has seen everything.
    """

    changes: list[Change]
    cursor: Cursor
    more: bool
    asked: int
    answered: int
    complete: bool = False


class GetKind(StrEnum):
    FOUND = "found"
    GONE = "gone"
    NO_RIGHTS = "no_rights"
    CANT_TELL = "cant_tell"


@dataclass(slots=True)
class GetAnswer:
    """`record` is whole (with its tables, if they were asked for) when `kind` is found."""

    id: str
    kind: GetKind
    record: Record | None = None
    asked: int = 0
    answered: int = 0


@dataclass(slots=True)
class FindAnswer:
    """The records that carry a key: none, one or several; `cant_tell` if the system did not really answer."""

    records: list[Record] = field(default_factory=list)
    cant_tell: bool = False


class Op(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    OPERATION = "operation"


@dataclass(slots=True)
class Write:
    """One write that the hub wants done.

    `fields` are flat and in the target's own shape; an update holds only what changes, `rows` the same for
    tables. `steps` must follow the save (submit, audit); `done` are those that an earlier attempt has finished, so
    that the write resumes at the first that is missing (`save` among them when the save itself is done). `stamp` is
    the hub's key for this attempt; a connector with a stamp field writes it there on create. `operation` names what an
    OPERATION does (`Cancel`). `timeout` is seconds: no answer within it is *unknown*.
    """

    op: Op
    id: str | None = None
    fields: Fields = field(default_factory=dict)
    rows: dict[str, RowsWrite] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    stamp: str | None = None
    operation: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A webhook as it came in: header names in lower case, the body untouched."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    received: int


@dataclass(frozen=True, slots=True)
class Event:
    """A hint that a record changed: fetch it. `id` is None when only the object is known."""

    object: str
    id: str
    kind: str = "changed"
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: bytes = b"ok"
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Received:
    """A webhook that proved true: its events, the reply the vendor expects once it is stored, and its dedupe key."""

    events: Sequence[Event]
    reply: Reply
    dedupe: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """One message of a stream: what it tells, its bytes for the inbox, and how the sender is answered.

    `acknowledge(True)` once it is stored; `acknowledge(False)` asks for it again later. Raises TransportFailure when
    the stream has ended: then it comes again. (`received.reply` has no use here.)
    """

    received: Received
    body: bytes = field(repr=False)
    acknowledge: Callable[[bool], Awaitable[None]]


class WebhookRefused(Exception):
    """A webhook that is forged, stale or malformed. `reason` goes to the log, never the secret or the body."""

    def __init__(self, reason: str, *, status: int = 401) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@runtime_checkable
class Connector(Protocol):
    """The duties of every connector. It is built with the system's name, its settings and the kit
    (`hub.connector.kit.Kit`).
    """

    manifest: ClassVar[Manifest]

    async def check(self) -> list[Finding]:
        """Reach the system, prove the credentials, name missing rights. Raises nothing of the vendor's."""
        ...

    async def fingerprint(self) -> str:
        """What tells this tenant from any other: stable, not secret."""
        ...

    async def objects(self) -> list[ObjectInfo]: ...

    async def describe(self, object: str) -> ObjectSchema:
        """The schema, live where the vendor offers it, else the catalogue's. Raises NotFound with the nearest names."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Catalogued(Protocol):
    def catalogue(self, object: str) -> ObjectSchema:
        """The schema as the connector's own catalogue has it, without asking the system. Raises NotFound."""
        ...


@runtime_checkable
class Reads(Protocol):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        """The page that follows `cursor` (None: from `request.since`, or from the beginning)."""
        ...

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        """Whole records by id, any number of them, answered in the order asked. Tables are included if `fields`
        names them or is None."""
        ...

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        """Records of a detail object by their master's id (`SalesOrderProductObj` by `order_id`); every master has
        an entry.
        """
        ...


@runtime_checkable
class Finds(Protocol):
    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        """Records by business keys: each key is field -> value, all of which must match exactly; one answer a key,
        in order.
        """
        ...


@runtime_checkable
class Writes(Protocol):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        """One outcome a write, in order. Never raises for what a vendor answered or failed to answer."""
        ...


@runtime_checkable
class Receives(Protocol):
    def receive(self, request: WebhookRequest) -> Received:
        """Verify first, on the raw bytes, then decrypt and read. Raises WebhookRefused."""
        ...


@runtime_checkable
class Streams(Protocol):
    """Events over a connection that the hub opens, where a vendor can't reach it or asks for that."""

    @property
    def streams(self) -> bool:
        """Whether this system's settings ask for it; `events` is called only then."""
        ...

    def events(self) -> AsyncIterator[Pushed]:
        """Open one connection and give what comes over it, until the other side ends it in good order. Whoever reads it
        opens the next, after a pause when this one failed.

        Raises CredentialsRefused, VendorError, TransportFailure.
        """
        ...


@runtime_checkable
class HasFiles(Protocol):
    """Files of records, as streams. A broken transfer is repeated whole: a new download, a new upload."""

    def download(self, object: str, id: str, field: str, file: Value) -> AbstractAsyncContextManager[FileStream]:
        """Open one file of a record: `file` is a value of its file field (of one with several: a member), as a read
        gave it. Leaving the block ends the transfer.

        Raises NotFound when the file is gone, CredentialsRefused, VendorError, TransportFailure; reading it raises what
        FileStream says.
        """
        ...

    async def upload(self, object: str, field: str, file: FileStream) -> Value:
        """Hand a file over, sent once, and return the value by which a write puts it into the field.

        What is uploaded and never written does no harm: unlike a write, an upload may be done again. Its value may live
        for a short time only, so it belongs right before its write. Raises FileRefused for what the system does not
        take (size, type), in its own words; else like `download`, and what reading the file raises.
        """
        ...
