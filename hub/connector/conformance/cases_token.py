"""Conformance: log-ins that end, are shared, or are refused."""

from __future__ import annotations

import asyncio

from hub.connector.conformance.bench import Bench, must
from hub.connector.contract import Op, Write
from hub.connector.faults import FaultKind
from hub.domain.errors import CredentialsRefused, HubError
from hub.domain.outcome import OutcomeKind

_WORKERS = 20


async def read_survives_token_expiry(bench: Bench) -> None:
    """A token that ends in mid-read MUST be renewed without a lost page."""
    ids = await bench.seed(2 * bench.harness.page + 1)
    bench.arm(FaultKind.EXPIRE_TOKEN, bench.harness.read_op, skip=1)
    changes, _ = await bench.read_all(full=True)
    must({change.record.id for change in changes} == set(ids), "records were lost when the token ended")
    must(bench.harness.logins(bench.simulator) == 2, f"{bench.harness.logins(bench.simulator)} log-ins instead of 2")


async def write_survives_token_expiry(bench: Bench) -> None:
    """A write refused for its token MUST be ok after a new log-in, or not executed; never unknown, never twice."""
    await bench.connector.fingerprint()
    bench.arm(FaultKind.EXPIRE_TOKEN, bench.harness.write_op)
    (outcome,) = await bench.create(0)
    allowed = {OutcomeKind.OK, OutcomeKind.NOT_EXECUTED}
    must(outcome.kind in allowed, f"a write refused for its token ended as {outcome.kind}: {outcome.failure}")
    bench.truthful([outcome], [0])
    (outcome,) = await bench.create(1)
    must(outcome.ok, f"the write after a new log-in ended as {outcome.kind}")


async def many_workers_share_one_login(bench: Bench) -> None:
    """Workers that need a token at once MUST share one log-in, the first time and when it ends."""
    (id,) = await bench.seed(1)
    for logins in (1, 2):
        await asyncio.gather(*(bench.get([id]) for _ in range(_WORKERS)))
        done = bench.harness.logins(bench.simulator)
        must(done == logins, f"{_WORKERS} workers made {done} log-ins instead of {logins}")
        bench.simulator.expire_tokens()


async def two_connectors_share_one_login(bench: Bench) -> None:
    """Connectors that share a token cache MUST share the log-in."""
    (id,) = await bench.seed(1)
    readers = [bench.reads(bench.another()) for _ in range(2)]
    await asyncio.gather(*(each.get(bench.object, [id]) for each in readers))
    must(bench.harness.logins(bench.simulator) == 1, f"{bench.harness.logins(bench.simulator)} log-ins instead of one")


async def wrong_credentials_are_refused_in_words(bench: Bench) -> None:
    """A read with wrong credentials MUST raise CredentialsRefused with a hint; a write MUST be not executed."""
    await bench.seed(1)
    connector = bench.another(bench.harness.wrong(bench.settings), fresh_tokens=True)
    write = Write(Op.CREATE, fields=bench.harness.sample(1))
    (outcome,) = await bench.writes(connector).write(bench.object, [write])
    bench.show(outcome)
    must(outcome.kind is OutcomeKind.NOT_EXECUTED, f"a write with wrong credentials ended as {outcome.kind}")
    bench.truthful([outcome], [1])
    try:
        await bench.reads(connector).get(bench.object, ["1"])
    except CredentialsRefused as error:
        bench.show(error)
        must(error.hint, "refused credentials come without a hint")
    except HubError as error:
        must(False, f"wrong credentials were raised as {type(error).__name__}: {error}")
    else:
        must(False, "wrong credentials were good enough to read")


async def wrong_credentials_make_few_attempts(bench: Bench) -> None:
    """Many workers with wrong credentials MUST NOT each try them: that locks accounts."""
    connector = bench.reads(bench.another(bench.harness.wrong(bench.settings), fresh_tokens=True))
    work = [connector.get(bench.object, ["1"]) for _ in range(_WORKERS)]
    results = await asyncio.gather(*work, return_exceptions=True)
    must(all(isinstance(each, CredentialsRefused) for each in results), "not every worker was told")
    tried = bench.harness.logins(bench.simulator)
    must(tried <= 2, f"{_WORKERS} workers tried wrong credentials {tried} times")
