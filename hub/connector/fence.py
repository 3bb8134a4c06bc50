"""The fence around a claim's writes: nothing leaves whose answer might come after the claim's lease has passed.

Worker 1 claims an order and is paused (a laptop's lid, a starved machine) just before it writes. Its lease passes,
worker 2 takes the order over and writes it. Now worker 1 wakes up: without the fence its old write would go out after
worker 2's. So the last look at the lease is taken when the request's first byte is about to leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_left: ContextVar[Callable[[], float] | None] = ContextVar("seconds left of the lease", default=None)


class LeasePassed(Exception):
    """The lease is too short for what was about to be sent."""


@contextmanager
def guarded(left: Callable[[], float]) -> Iterator[None]:
    """Within the block writes go out only while `left` (seconds of the lease) exceeds their time-out."""
    token = _left.set(left)
    try:
        yield
    finally:
        _left.reset(token)


@contextmanager
def lifted() -> Iterator[None]:
    """Within the block nothing is asked: a read does no harm, however late it is."""
    token = _left.set(None)
    try:
        yield
    finally:
        _left.reset(token)


def prove(needed: float) -> None:
    """Raise LeasePassed when less than `needed` seconds are left. Outside of a claim nothing is asked."""
    left = _left.get()
    if left is not None and left() < needed:
        raise LeasePassed(f"{max(0.0, left()):.0f} s of the lease are left and its answer may take {needed:.0f} s")
