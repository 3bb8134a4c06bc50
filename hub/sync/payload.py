"""The raw source record as the ledger keeps it: one JSON text, and a hash of what the mapping reads of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from hub.domain.record import Fields, Record

_SORTED = orjson.OPT_SORT_KEYS


@dataclass(slots=True)
class Payload:
    """A source record with the rows that belong to it, as they were read."""

    record: Fields
    related: dict[str, list[Fields]] = field(default_factory=dict)
    modified: int | None = None

    def encode(self) -> str:
        """As text for the ledger."""
        body: dict[str, Any] = {"record": self.record}
        if self.related:
            body["related"] = self.related
        if self.modified is not None:
            body["modified"] = self.modified
        return orjson.dumps(body).decode()

    @classmethod
    def decode(cls, body: str) -> Payload:
        data = orjson.loads(body)
        return cls(data["record"], data.get("related", {}), data.get("modified"))


def of(record: Record, related: dict[str, list[Fields]] | None = None) -> Payload:
    """The payload of a record that was read."""
    return Payload(record.fields, related or {}, record.modified)


def digest(payload: Payload, needed: frozenset[str] | None) -> str:
    """A hash of what the mapping reads: a change of anything else is no change to the flow.

    Rows count whole and in the order of their ids, so that the order of an answer does not matter.
    """
    record = payload.record
    subject: list[Any] = [record if needed is None else {name: record[name] for name in needed if name in record}]
    subject += [
        sorted(orjson.dumps(row, option=_SORTED).decode() for row in payload.related[name])
        for name in sorted(payload.related)
    ]
    return blake2b(orjson.dumps(subject, option=_SORTED), digest_size=16).hexdigest()


DELETED = "deleted"  # the hash of a record that is gone
