"""Signals on their way out: many become one, and a carrier that is away holds nobody up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from hub.runtime import post as posting
from hub.runtime.post import Post
from hub.runtime.signals import DRAIN, FETCH, Signal


class Carrier:
    """Takes what is sent, or is away."""

    def __init__(self) -> None:
        self.sent: list[Signal] = []
        self.away = False
        self.closed = 0
        self._loop = asyncio.get_running_loop()
        self.tried = asyncio.Event()

    def send(self, signals: Sequence[Signal]) -> None:
        try:
            if self.away:
                raise ConnectionRefusedError("nobody listens at broker.example.com")
            self.sent += signals
        finally:
            self._loop.call_soon_threadsafe(self.tried.set)

    def close(self) -> None:
        self.closed += 1

    async def next_try(self) -> None:
        await asyncio.wait_for(self.tried.wait(), 30)
        self.tried.clear()


async def test_many_signals_become_one() -> None:
    carrier = Carrier()
    post = Post(carrier.send, carrier.close)
    for _ in range(100):
        post.put(Signal(FETCH))
        post.put(Signal(DRAIN, "orders"))
    post.start()
    await carrier.next_try()
    await post.stop()
    assert carrier.sent == [Signal(FETCH), Signal(DRAIN, "orders")]
    assert carrier.closed == 1


async def test_a_carrier_that_is_away_is_told_once_and_again_when_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "_TROUBLE", 0.0)
    monkeypatch.setattr(posting, "_PAUSE", 0.0)
    carrier = Carrier()
    carrier.away = True
    post = Post(carrier.send, carrier.close)
    post.start()
    with caplog.at_level(logging.WARNING, "hub.post"):
        for _ in range(3):
            post.put(Signal(FETCH))
            await carrier.next_try()
        carrier.away = False
        post.put(Signal(FETCH))
        await carrier.next_try()
        post.put(Signal(DRAIN, "orders"))
        await carrier.next_try()
        await post.stop()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "signals can't be carried (ConnectionRefusedError: nobody listens at broker.example.com); "
        "workers look for work themselves, more slowly",
        "signals are carried again",
    ]
    assert carrier.sent == [Signal(FETCH), Signal(DRAIN, "orders")]


async def test_what_waits_is_bounded() -> None:
    carrier = Carrier()
    post = Post(carrier.send, carrier.close)
    for number in range(5000):
        post.put(Signal(DRAIN, f"flow {number}"))
    post.start()
    await carrier.next_try()
    await post.stop()
    assert len(carrier.sent) == 1000
