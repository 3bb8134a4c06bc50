"""A vendor's quota that all flows and people share: flows stop in time, say so, and go on by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.connector.turns import for_person
from hub.domain.clock import SystemClock
from hub.domain.errors import QuotaSpent
from tests.flow.house import ask, house, until

DAY = 86_400_000


class Tomorrow:
    """A clock that can be put forward by days, for everybody who lives in this process."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self.days = 0

    def now(self) -> int:
        return self._system.now() + self.days * DAY

    def monotonic(self) -> float:
        return self._system.monotonic() + self.days * DAY / 1000


async def test_the_daily_quota_ended_and_the_run_died__flows_rest_say_which_limit_it_was_and_resume_by_themselves(
    tmp_path: Path,
) -> None:
    clock = Tomorrow()
    async with house(tmp_path, erps="a", crm_limits=", day_calls: 40", more="budgets: {reserve: 0.25}") as shop:
        await shop.sell_to(3)
        async with shop.running(clock) as service:
            hub = service.hub
            crm = hub.project.system("crm")
            # A read a second: flows are through with their thirty calls soon, and leave ten to people.
            await until(lambda: crm.breaker.resting, why=service.reasons)
            calls = _calls(shop.crm.counts)
            assert calls <= 30
            told = await until(lambda: [why for why in service.reasons() if "crm rests" in why])
            assert "the day's call quota of the tenant" in told[0]
            assert "resumes at" in told[0]
            [crm_line] = [one for one in (await ask(hub, "status"))["systems"] if one["name"] == "crm"]
            assert crm_line["state"] == "quota"
            [quota] = crm_line["quotas"]
            assert (quota["amount"], quota["kept"]) == (40, 10)
            assert crm_line["until"] == quota["resets"]
            # A person's question goes through although no flow may call.
            with pytest.raises(QuotaSpent, match="the last 10 are kept for people"):
                await crm.connector.describe("SalesOrderObj")
            with for_person():
                assert (await crm.connector.describe("SalesOrderObj")).origin == "live"
            assert calls < _calls(shop.crm.counts) <= 40
            # Next day everything goes on without anybody's hand.
            await shop.sell_to(2, begin=3)
            clock.days = 1
            shop.crm.clock.advance(DAY / 1000)
            for erp in shop.erps.values():
                erp.clock.advance(DAY / 1000)
            await until(lambda: len(shop.customers("a")) == 5, why=service.reasons)


def _calls(counts: dict[str, int]) -> int:
    return sum(count for name, count in counts.items() if name != "login" and not name.startswith("callback"))


async def test_a_quota_outlives_a_restart_and_a_system_of_the_same_account_knows_it(tmp_path: Path) -> None:
    async with house(tmp_path, erps="a", crm_limits=", day_calls: 18", more="budgets: {reserve: 0}") as shop:
        await shop.sell_to(1)
        async with shop.running() as service:
            crm = service.hub.project.system("crm").breaker
            await until(lambda: crm.resting)
        before = _calls(shop.crm.counts)
        async with shop.open() as hub:
            with pytest.raises(QuotaSpent, match="this day's 18 calls are used up"):
                await hub.project.connector("crm").get("AccountObj", ["1"])
        assert _calls(shop.crm.counts) == before


async def test_nobody_shares_a_log_in_without_a_key_and_everybody_does_with_one(tmp_path: Path) -> None:
    key = "0123456789abcdef0123456789abcdef"
    for more, logins in (("", 2), (f", key: {key}", 1)):
        folder = tmp_path / ((more and "sealed") or "open")
        folder.mkdir()
        async with house(folder, erps="a", store_more=more) as shop:
            for _ in range(2):
                async with shop.open() as hub:
                    await hub.project.connector("crm").fingerprint()
            assert shop.crm.counts["login"] == logins
