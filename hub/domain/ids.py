"""Ids that the hub gives: 63-bit, growing with time, made without asking a database."""

from __future__ import annotations

import secrets
import time

_SEQUENCE_BITS = 20


class IdSource:
    """Makes ids that grow: 43 bits of milliseconds, then 20 bits of a counter that starts at random.

    Two processes that start in the same millisecond differ by their random start; the unique keys of the
    tables catch what is left, and the writer draws again.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        floor = (time.time_ns() // 1_000_000) << _SEQUENCE_BITS
        if floor > self._last:
            self._last = floor + secrets.randbits(_SEQUENCE_BITS - 2)
        else:
            self._last += 1
        return self._last

    def take(self, count: int) -> list[int]:
        """`count` ids in growing order."""
        if count < 1:
            return []
        first = self.next()
        self._last = first + count - 1
        return list(range(first, first + count))
