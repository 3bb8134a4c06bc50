"""Floods: how much one system may send, and how often the log tells of what was refused."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hub.domain.clock import Clock

_TELL_EVERY = 10.0  # seconds


class Bucket:
    """So many a second, and `burst` at once after a quiet time."""

    def __init__(self, clock: Clock, *, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = clock.monotonic()

    def take(self) -> float:
        """Take one. Returns 0, or the seconds until there is one again; then nothing was taken."""
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


@dataclass(slots=True)
class _Told:
    at: float
    kept_quiet: int = 0


class Sparing:
    """Warns of the same thing once in ten seconds, with how often it happened in between: a flood fills no disk."""

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[tuple[str, str], _Told] = {}

    def warn(self, system: str, kind: str, text: str) -> None:
        """`kind` tells what is the same thing; `text` may be different each time, and is no secret."""
        now = self._clock.monotonic()
        told = self._told.get((system, kind))
        if told is not None and now - told.at < _TELL_EVERY:
            told.kept_quiet += 1
            return
        more = f" (and {told.kept_quiet} more since the last line like this)" if told and told.kept_quiet else ""
        self._told[system, kind] = _Told(now)
        self._log.warning("%s a webhook of %s: %s%s", kind, system, text, more)
