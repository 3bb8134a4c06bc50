"""The short form of the chaos run: real processes killed at every failpoint and at random, all figures zero.

The long form is a command: `python -m tests.chaos --kills 300 --changes 10000 --minutes 60`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from hub.sync import failpoints
from tests.chaos.run import POINTS, ZERO, Plan, play
from tests.conftest import POSTGRES


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", ["sqlite", POSTGRES], ids=["sqlite", "postgresql"])
def test_nothing_lost_and_nothing_twice_whatever_is_killed_and_whatever_the_vendors_do(database: str) -> None:
    outcome = asyncio.run(play(Plan(seed=7, kills=8, minutes=0.6, database=database, records=20)))

    assert {name: outcome.figures[name] for name in ZERO} == dict.fromkeys(ZERO, 0), outcome.details
    assert outcome.figures["kills"] >= 8
    assert outcome.figures["changes"] >= 100
    assert 0 < outcome.figures["writes_per_change"] < 8


@pytest.mark.timeout(600)
def test_a_process_may_die_at_every_failpoint_in_turn() -> None:
    plan = Plan(seed=8, kills=3 * len(POINTS), minutes=1.0, records=20, weather=False, every_point=True)

    outcome = asyncio.run(play(plan))

    assert {name: outcome.figures[name] for name in ZERO} == dict.fromkeys(ZERO, 0), outcome.details
    reached = {name.removeprefix("kill ") for name in outcome.figures["faults"] if name.startswith("kill ")}
    assert reached >= set(POINTS)


@pytest.mark.parametrize(("armed", "passings"), [("after-send", 1), ("after-send:3", 3)])
def test_a_failpoint_ends_the_process_when_it_passes_often_enough(armed: str, passings: int) -> None:
    passed = "from hub.sync.failpoints import failpoint\nwhile True: failpoint('after-send'); print(1, flush=True)"

    ended = subprocess.run(
        [sys.executable, "-c", passed], env={**os.environ, failpoints.VARIABLE: armed}, capture_output=True, text=True
    )

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.count("1") == passings - 1


@pytest.mark.parametrize("armed", ["after-sent", "after-send:0", "after-send:x", "after-send:1:sing"])
def test_a_failpoint_that_there_is_not_fails_the_start(armed: str) -> None:
    with pytest.raises(ValueError, match=armed):
        failpoints.arm(armed)
