"""Schedules: in step, aware of time zones, and what was missed is caught up once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.runtime.settings import FlowSettings
from hub.runtime.triggers import Trigger, of_flow


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_an_interval_begins_at_once_and_keeps_its_beat() -> None:
    trigger = Trigger(every=300)
    assert trigger.first(ms("2026-01-06T10:00")) == ms("2026-01-06T10:00")
    assert trigger.after(ms("2026-01-06T10:00"), ms("2026-01-06T10:00:02")) == ms("2026-01-06T10:05")


def test_missed_runs_are_counted_and_caught_up_once() -> None:
    trigger = Trigger(every=300)
    due, now = ms("2026-01-06T10:00"), ms("2026-01-06T10:21")
    assert trigger.missed(due, now) == 4
    assert trigger.after(due, now) == ms("2026-01-06T10:25")


def test_cron_is_read_in_its_time_zone() -> None:
    trigger = Trigger(cron="0 3 * * *", tz="Asia/Shanghai")
    assert trigger.first(ms("2026-01-06T10:00")) == ms("2026-01-06T19:00")
    assert trigger.missed(ms("2026-01-05T19:00"), ms("2026-01-07T20:00")) == 2


def test_cron_over_a_change_of_clocks() -> None:
    trigger = Trigger(cron="30 12 * * *", tz="Europe/Berlin")
    assert trigger.first(ms("2026-03-28T12:00")) == ms("2026-03-29T10:30")


def test_a_time_that_is_due_now_comes_next_time() -> None:
    trigger = Trigger(cron="*/5 * * * *", tz="UTC")
    assert trigger.after(ms("2026-01-06T10:00"), ms("2026-01-06T10:00")) == ms("2026-01-06T10:05")


@pytest.mark.parametrize("trigger", [Trigger(every=90), Trigger(cron="1 2 * * *", tz="Asia/Shanghai")])
def test_a_trigger_comes_back_from_the_store(trigger: Trigger) -> None:
    assert Trigger.decode(trigger.encode()) == trigger


def test_a_flow_has_a_read_and_a_daily_sweep() -> None:
    found = of_flow(FlowSettings(mapping="m.yaml", every="5m", sweep="02:30", tz="Asia/Shanghai"))
    assert found == {"read": Trigger(every=300), "sweep": Trigger(cron="30 2 * * *", tz="Asia/Shanghai")}
    assert "sweep" not in of_flow(FlowSettings(mapping="m.yaml", sweep="off"))
