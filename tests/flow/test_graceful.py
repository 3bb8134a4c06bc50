"""SIGTERM finishes or hands back what is claimed, and a rolling restart of a fleet loses nothing. Real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flow.fleet import Broker, Fleet, fleet, names, ready, stopped, until

pytestmark = pytest.mark.timeout(900)


def _held(made: Fleet) -> list[tuple[object, ...]]:
    """What somebody still holds: deliveries and schedules."""
    return made.rows(
        "SELECT flow FROM delivery WHERE state = 'working' OR lease_until IS NOT NULL"
        " UNION ALL SELECT name FROM schedule WHERE lease_until IS NOT NULL"
    )


def test_a_rolling_restart_loses_nothing(tmp_path: Path, postgres_url: str) -> None:
    with fleet(tmp_path / "shop", postgres_url, Broker("redis")) as made:
        scheduler = made.part("scheduler")
        workers = [made.part("worker") for _ in range(3)]
        for part in (scheduler, *workers):
            ready(part)
        made.new_customers(0, 20)
        until(made.erp_customers)
        done = 20
        for index, old in enumerate(workers):
            new = made.part("worker")
            made.new_customers(done, 10)
            done += 10
            assert stopped(old) == [0]
            ready(new)
            workers[index] = new
        until(lambda: len(made.erp_customers()) >= done and made.at_rest())
        assert made.erp_customers() == names(done)
        assert stopped(scheduler, *workers) == [0, 0, 0, 0]
        assert _held(made) == []


def test_what_can_not_end_in_time_is_handed_back_at_once(tmp_path: Path, postgres_url: str) -> None:
    """The target has written and never answers: the next worker waits for no lease, and does not write twice."""
    with fleet(tmp_path / "shop", postgres_url, Broker("redis")) as made:
        scheduler, worker = made.part("scheduler"), made.part("worker")
        ready(scheduler)
        ready(worker)
        made.side_door(
            made.erp,
            "faults",
            {"kind": "answer_lost_after_commit", "op": "(?i)save", "body": "BD_Customer", "times": 1},
        )
        made.new_customers(0, 1)
        until(made.erp_customers)
        assert made.rows("SELECT state FROM delivery WHERE flow = 'customers-to-erp'") == [("working",)]
        assert stopped(worker) == [0]
        [(state, lease)] = made.rows("SELECT state, lease_until FROM delivery WHERE flow = 'customers-to-erp'")
        assert (state, lease) == ("doubt", None)
        assert _held(made) == []
        ready(made.part("worker"))
        until(made.at_rest)
        assert made.erp_customers() == names(1)
