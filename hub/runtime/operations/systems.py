"""Systems as people see them: whether flows may call them just now, why not, until when, and what is left of quotas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.domain.clock import iso
from hub.runtime.operations.operation import Call, Result
from hub.runtime.rests import sentence
from hub.store import rests
from hub.store.rests import Rest


class QuotaLine(Result):
    """A quota of the vendor's: `kept` of its `amount` calls are kept for people; it starts anew at `resets`."""

    name: str
    used: int
    amount: int
    kept: int
    resets: str | None


class SystemLine(Result):
    """A system: `ok`, `down` (it does not answer) or `quota` (flows have used up their share of one)."""

    name: str
    connector: str
    state: str
    reason: str | None
    since: str | None
    until: str | None
    quotas: list[QuotaLine]


async def system_lines(call: Call) -> list[SystemLine]:
    """Every system of `hub.yaml`."""
    hub = call.hub
    held = await resting(call)
    lines = []
    for name, system in hub.config.systems.items():
        one = held.get(name)
        quotas = [
            QuotaLine(name=quota.name, used=quota.used, amount=quota.amount, kept=quota.kept, resets=iso(quota.ends))
            for quota in await hub.project.usage(name)
        ]
        lines.append(
            SystemLine(
                name=name,
                connector=system.connector,
                state=one.kind if one else "ok",
                reason=sentence(one) if one else None,
                since=iso(one.since) if one else None,
                until=iso(one.until) if one else None,
                quotas=quotas,
            )
        )
    return lines


async def resting(call: Call) -> dict[str, Rest]:
    """The systems that are left alone, by name; where there are two reasons, that it does not answer."""
    return {one.system: one for one in sorted(await rests.listing(call.hub.store), key=lambda one: one.kind != "quota")}


def explained(link: dict[str, Any], targets: Mapping[str, str], held: Mapping[str, Rest]) -> dict[str, Any]:
    """A link of a chain of causes; what is due and can't go since its target is left alone says so."""
    because = [explained(one, targets, held) for one in link["because"]]
    rest = held.get(targets.get(link["flow"], ""))
    if rest is None or link["state"] not in ("pending", "doubt"):
        return {**link, "because": because}
    fix = f"nothing to do: it goes on by itself; bring {rest.system} back, or raise its quota, to make it sooner"
    return {**link, "cause": sentence(rest), "fix": fix, "because": because}
