"""One dead system, one slow flow, one poisonous record: the others do not notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.connector.breaker import BreakerState
from hub.runtime.hub import Hub
from tests.flow.house import ask, hasten, house, lines, states, until

pytestmark = pytest.mark.timeout(600)


async def test_one_dead_and_slow_system_does_not_delay_the_others(tmp_path: Path) -> None:
    async with house(tmp_path) as shop:
        await shop.sell_to(3)
        async with shop.running() as service:
            hub = service.hub
            breaker = hasten(hub, "erp-a")
            await until(lambda: len(shop.customers("a")) == len(shop.customers("b")) == 3)
            # ERP A takes calls and does not come to an end with one. B has done all of its work before A has done any.
            with shop.held("a"):
                await shop.sell_to(30, begin=3)
                await until(lambda: len(shop.customers("b")) == 33, why=service.reasons)
                assert len(shop.customers("a")) == 3
            await until(lambda: len(shop.customers("a")) == 33, why=service.reasons)
            # Then A does not answer at all.
            shop.arm("a", kind="reset")
            await shop.sell_to(30, begin=33)
            await until(lambda: len(shop.customers("b")) == 63, why=service.reasons)
            assert len(shop.customers("a")) == 33
            await until(lambda: breaker.state is not BreakerState.CLOSED)
            await until(lambda: any("erp-a does not answer" in why for why in service.reasons()))
            # B goes on while A is left alone, and people are told which is which.
            await shop.sell_to(20, begin=63)
            await until(lambda: len(shop.customers("b")) == 83)
            told = {one["name"]: one for one in (await ask(hub, "status"))["systems"]}
            assert (told["erp-a"]["state"], told["erp-b"]["state"]) == ("down", "ok")
            assert "erp-a does not answer" in told["erp-a"]["reason"]
            late = next(one for one in await lines(hub, "to-a") if one.state == "pending")
            [link] = [one for one in (await ask(hub, "why", text=late.title))["links"] if one["flow"] == "to-a"]
            assert "erp-a does not answer" in link["cause"]
            assert "nothing to do" in link["fix"]
            # It comes back, and everything arrives by itself, once. Nothing had died of waiting.
            assert {one.attempts for one in await lines(hub, "to-a") if one.state == "pending"} == {0}
            shop.erps["a"].faults.clear()
            await until(lambda: len(shop.customers("a")) == 83, seconds=90, why=service.reasons)
            await until(lambda: breaker.state is BreakerState.CLOSED)
            assert shop.customers("a") == shop.customers("b") == [f"T{at:04d}" for at in range(83)]
            await until(lambda: all_done(hub, "to-a", 83))
            await until(lambda: not any("erp-a" in why for why in service.reasons()))


async def test_one_bad_record_stopped_the_stream__the_target_stumbles_over_it_and_its_neighbours_arrive(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, erps="a") as shop:
        await shop.sell_to(30)
        shop.arm("a", kind="http_500", body="客户0013")
        async with shop.running() as service:
            hasten(service.hub, "erp-a")
            # The vendor's server breaks down over one record of the batch, again and again.
            await until(lambda: len(shop.customers("a")) == 29, seconds=90, why=service.reasons)
            assert "T0013" not in shop.customers("a")
            await until(lambda: done(service.hub, "to-a", 29))
            shop.erps["a"].faults.clear()
            await until(lambda: len(shop.customers("a")) == 30, seconds=90)
            assert shop.customers("a") == [f"T{at:04d}" for at in range(30)]


async def done(hub: Hub, flow: str, count: int) -> bool:
    return (await states(hub, flow)).get("done") == count


async def all_done(hub: Hub, flow: str, count: int) -> bool:
    return await states(hub, flow) == {"done": count}
