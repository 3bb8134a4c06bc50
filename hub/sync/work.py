"""What a claimed batch carries from stage to stage: a piece of work a delivery, a task a target record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.connector.contract import GetKind, Op, Write
from hub.domain.delivery import State
from hub.domain.outcome import Outcome
from hub.domain.record import Fields, Record, RowsWrite, RowWrite
from hub.mapping.result import MatchKey, RefKey, Rendered, Result
from hub.store.claims import Claimed
from hub.store.identities import Identity, Resolved
from hub.store.waits import RELATED
from hub.sync.payload import Payload


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a delivery comes to stand, and why. `delay` is seconds until it is due again; `spent` counts an attempt.

    `untouched`: nothing was found out about an open intent, which stays as it was.
    """

    state: State
    reason: str | None = None
    message: str | None = None
    delay: float = 0.0
    spent: bool = False
    untouched: bool = False


@dataclass(slots=True)
class Sent:
    """Our last rendering of one target record: fields, rows by table and source key, operations done, whether it
    left.
    """

    fields: Fields = field(default_factory=dict)
    rows: dict[str, dict[str, RowWrite]] = field(default_factory=dict)
    actions: list[str] = field(default_factory=list)
    left: bool = False

    def encode(self) -> str:
        body: dict[str, Any] = {"f": self.fields}
        if self.rows:
            body["r"] = {
                table: {key: [row.id, row.fields] for key, row in rows.items()} for table, rows in self.rows.items()
            }
        if self.actions:
            body["a"] = self.actions
        if self.left:
            body["left"] = True
        return orjson.dumps(body).decode()

    @classmethod
    def decode(cls, text: str | None) -> Sent:
        if text is None:
            return cls()
        body = orjson.loads(text)
        rows = {
            table: {key: RowWrite(key, row[0], row[1]) for key, row in found.items()}
            for table, found in body.get("r", {}).items()
        }
        return cls(body["f"], rows, body.get("a", []), body.get("left", False))


@dataclass(slots=True)
class Intent:
    """A write that is about to leave, or has left: what was sent, with which keys it can be found again, what is done.

    `revision` is the ledger's revision that it renders. `leaving` is the rule by which the record left, if that is why
    it is written. `at` is epoch ms.
    """

    write: Write
    facet: str
    match: list[MatchKey]
    at: int
    revision: int
    actions: tuple[str, ...] = ()
    title: str | None = None
    leaving: str | None = None  # the rule by which the record left, if this is what its leaving asks for
    overwrites: dict[str, Any] = field(default_factory=dict)  # what somebody else had put where this writes
    noted: bool = False  # the history tells of it already

    def encode(self) -> dict[str, Any]:
        write = self.write
        body: dict[str, Any] = {"op": write.op.value, "at": self.at, "rev": self.revision}
        optional: dict[str, Any] = {
            "id": write.id,
            "f": write.fields,
            "r": {
                table: {"u": [[row.key, row.id, row.fields] for row in rows.upsert], "d": rows.remove}
                for table, rows in write.rows.items()
            },
            "steps": write.steps,
            "done": write.done,
            "stamp": write.stamp,
            "operation": write.operation,
            "facet": self.facet,
            "match": [[key.fields, key.veto, key.normalise] for key in self.match],
            "actions": self.actions,
            "title": self.title,
            "leaving": self.leaving,
            "over": self.overwrites,
            "noted": self.noted,
        }
        body.update({name: value for name, value in optional.items() if value})
        return body

    @classmethod
    def decode(cls, body: dict[str, Any], options: dict[str, Any]) -> Intent:
        rows = {
            table: RowsWrite([RowWrite(*row) for row in found["u"]], found["d"])
            for table, found in body.get("r", {}).items()
        }
        write = Write(
            Op(body["op"]),
            body.get("id"),
            body.get("f", {}),
            rows,
            tuple(body.get("steps", ())),
            tuple(body.get("done", ())),
            body.get("stamp"),
            body.get("operation"),
            options,
        )
        match = [MatchKey(*key) for key in body.get("match", [])]
        return cls(
            write,
            body.get("facet", ""),
            match,
            body["at"],
            body["rev"],
            tuple(body.get("actions", ())),
            body.get("title"),
            body.get("leaving"),
            body.get("over", {}),
            body.get("noted", False),
        )


@dataclass(slots=True)
class Task:
    """One target record of a delivery.

    `target` is its identity if it has one; `adopted` the record that locate found, to be linked when the task settles;
    `current` the target as read before the write; `intent` what leaves; `outcome` what came back.
    """

    facet: str = ""
    rendered: Rendered | None = None
    target: Identity | None = None
    sent: Sent = field(default_factory=Sent)
    seen: Fields | None = None
    doubt: frozenset[str] = frozenset()
    lost: Intent | None = None  # the write of a worker that did not live to note it
    unfinished: bool = False  # of a write in doubt the save may have gone through, and the steps after it not
    current: Record | None = None
    answer: GetKind | None = None
    adopted: Record | None = None
    ours: bool = False  # what was located carries the hub's own stamp
    gone: Identity | None = None
    was: Rendered | None = None  # the rendering of the record as it was when the flow first saw it
    overwritten: dict[str, Any] = field(default_factory=dict)
    intent: Intent | None = None
    outcome: Outcome | None = None
    new_sent: Sent | None = None
    took: int = 0
    verdict: Verdict | None = None
    carry: bool = False  # the target's own side has to put a field of its right in our source
    set_aside: bool = False  # the ID map has its record as somebody else's

    def forget_target(self) -> None:
        """The target is gone and is to be made again."""
        self.gone = self.target
        self.target = None
        self.current = None
        self.sent = Sent()
        self.seen = None
        self.doubt = frozenset()

    def adopt(self, rendered: Rendered, rows: dict[str, dict[str, str]]) -> None:
        """The rendering counts as sent, without being sent."""
        self.new_sent = Sent(
            dict(rendered.fields),
            {
                table: {row.key: RowWrite(row.key, rows.get(table, {}).get(row.key), row.fields) for row in found}
                for table, found in rendered.rows.items()
            },
        )

    @property
    def target_id(self) -> str | None:
        """The target's record id, as far as it is known."""
        if self.outcome is not None and self.outcome.id:
            return self.outcome.id
        if self.adopted is not None:
            return self.adopted.id
        if self.target is not None:
            return self.target.record_id
        return self.intent.write.id if self.intent is not None else None


@dataclass(slots=True)
class Work:
    """A claimed delivery under way. `waits` are (entity, owed field or '') pairs, `waits_lookups` (table, key)
    pairs.
    """

    claimed: Claimed
    payload: Payload | None = None
    previous: Payload | None = None
    tasks: list[Task] = field(default_factory=list)
    title: str | None = None
    verdict: Verdict | None = None
    waits: set[tuple[int, str]] = field(default_factory=set)
    waits_lookups: set[tuple[str, str]] = field(default_factory=set)
    revision: int = 0
    began: int = 0  # when its batch was loaded, epoch ms
    result: Result | None = None
    resolved: dict[RefKey, Resolved] = field(default_factory=dict)
    noted: set[int] = field(default_factory=set)  # lease tokens under which its intents are written down

    def as_it_was(self) -> Work:
        """The same work with the record that the flow saw first."""
        return Work(self.claimed, self.previous)

    @property
    def open(self) -> bool:
        return self.verdict is None

    @property
    def waits_only_owed(self) -> bool:
        """Whether it waits only for fields that it can go without."""
        return not self.waits_lookups and all(name and name != RELATED for _, name in self.waits)

    def intents(self) -> str | None:
        """The intents that stay open: of the tasks whose write is in doubt."""
        bodies = [
            task.intent.encode()
            for task in self.tasks
            if task.intent is not None and task.verdict is not None and task.verdict.state is State.DOUBT
        ]
        return orjson.dumps(bodies).decode() if bodies else None
