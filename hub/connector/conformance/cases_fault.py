"""Conformance: what a connector says when the system or the network fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from hub.connector.conformance.bench import Bench, must
from hub.connector.contract import Op, Write
from hub.connector.faults import FaultKind
from hub.domain.errors import HubError, Unreachable, VendorError
from hub.domain.outcome import Outcome, OutcomeKind

Run = Callable[[Bench], Awaitable[None]]

_TRANSIENT = (FaultKind.RESET, FaultKind.HTTP_500, FaultKind.TRUNCATED, FaultKind.MALFORMED, FaultKind.THROTTLE)


def unanswered(kind: FaultKind, what: str, *, commits: bool, timeout: float = 10.0) -> tuple[str, str, Run]:
    """The case of a create that leaves and gets no definite answer."""

    async def run(bench: Bench) -> None:
        await bench.connector.fingerprint()  # logged in, so that the fault meets the write
        bench.arm(kind, bench.harness.write_op, seconds=1.0)
        (outcome,) = await bench.create(0, timeout=timeout)
        must(bench.simulator.faults.struck, "the fault never met a write; the harness's write_op is wrong")
        must(outcome.kind is OutcomeKind.UNKNOWN, f"{what}: a create ended as {outcome.kind} instead of unknown")
        must(outcome.failure and outcome.failure.message, "an unknown outcome must say what happened")
        sent = bench.harness.sends(bench.simulator, bench.harness.write_op)
        must(sent == 1, f"{what}: the create was sent {sent} times")
        made = bench.harness.made(bench.simulator, 0)
        must(made <= (1 if commits else 0), f"{what}: the create was executed {made} times")

    rule = f"A write after which comes {what} MUST be reported as unknown, and MUST NOT be sent twice."
    return f"write_unknown_after_{kind}", rule, run


async def unanswered_updates_are_unknown(bench: Bench) -> None:
    """An update that leaves and gets no definite answer MUST be unknown too, and sent once."""
    (id,) = await bench.seed(1)
    await bench.connector.fingerprint()
    op = bench.harness.update_op or bench.harness.write_op
    for n, kind in enumerate((FaultKind.RESET, FaultKind.RESET_AFTER_COMMIT, FaultKind.HTTP_500, FaultKind.MALFORMED)):
        before = bench.harness.sends(bench.simulator, op)
        bench.arm(kind, op)
        (outcome,) = await bench.write([Write(Op.UPDATE, id=id, fields=bench.harness.changed(n))])
        sent = bench.harness.sends(bench.simulator, op) - before
        must(outcome.kind is OutcomeKind.UNKNOWN, f"an update that met {kind} ended as {outcome.kind}")
        must(sent == 1, f"an update that met {kind} was sent {sent} times")


async def faults_in_a_batch_stay_apart(bench: Bench) -> None:
    """A failure in the middle of a batch MUST be told of the writes that it met, truthfully for every one."""
    await bench.connector.fingerprint()
    for kind, base in ((FaultKind.RESET, 0), (FaultKind.RESET_AFTER_COMMIT, 10)):
        bench.simulator.faults.clear()
        bench.arm(kind, bench.harness.write_op, skip=1)
        numbers = range(base, base + 4)
        outcomes = await bench.create(*numbers)
        if kind is FaultKind.RESET_AFTER_COMMIT:
            _untrue = [n for n, o in zip(numbers, outcomes, strict=True) if not _possible(bench, o, n)]
            must(not _untrue, "an outcome denies what the system did")
        else:
            bench.truthful(outcomes, list(numbers))


async def throttled_write_is_not_executed(bench: Bench) -> None:
    """A write that is throttled MUST be not executed, with the wait that was asked for."""
    await bench.connector.fingerprint()
    for n, asked in enumerate((None, 7.0)):
        bench.arm(FaultKind.THROTTLE, bench.harness.write_op, retry_after=asked)
        (outcome,) = await bench.create(n)
        must(outcome.kind is OutcomeKind.NOT_EXECUTED, f"a throttled write ended as {outcome.kind}")
        bench.truthful([outcome], [n])
        headers = bench.simulator.throttled(7.0).headers
        if asked and "retry-after" in headers:
            must(outcome.retry_after is not None and outcome.retry_after >= asked, "Retry-After was not passed on")


async def a_later_write_meets_no_old_fault(bench: Bench) -> None:
    """After a failure the next write MUST go through: no broken connection, no stuck state."""
    await bench.connector.fingerprint()
    for n, kind in enumerate((FaultKind.RESET, FaultKind.TRUNCATED, FaultKind.HTTP_500, FaultKind.THROTTLE)):
        bench.arm(kind, bench.harness.write_op)
        await bench.create(2 * n)
        bench.simulator.clock.advance(60)
        (outcome,) = await bench.create(2 * n + 1)
        must(outcome.ok, f"the write after {kind} ended as {outcome.kind}: {outcome.failure}")


async def unreachable_write_is_not_executed(bench: Bench) -> None:
    """A write that can't leave MUST be down (or not executed), never unknown."""
    dead = "http://127.0.0.1:9"
    base = bench.simulator.base_url
    await bench.connector.fingerprint()  # a token is cached, so that the write itself meets the dead address
    settings = {
        name: value.replace(base, dead) if isinstance(value, str) else value for name, value in bench.settings.items()
    }
    connector = bench.writes(bench.another(settings))
    (outcome,) = await connector.write(bench.object, [Write(Op.CREATE, fields=bench.harness.sample(0))])
    bench.show(outcome)
    must(outcome.kind in {OutcomeKind.DOWN, OutcomeKind.NOT_EXECUTED}, f"what never left ended as {outcome.kind}")


async def reads_pass_over_a_failure(bench: Bench) -> None:
    """A read that meets one passing failure MUST bring everything all the same."""
    ids = await bench.seed(2)
    await bench.connector.fingerprint()
    for kind in _TRANSIENT:
        bench.simulator.faults.clear()
        bench.arm(kind, bench.harness.read_op)
        changes, _ = await bench.read_all(full=True)
        must({change.record.id for change in changes} == set(ids), f"a read that met {kind} lost records")
        bench.simulator.clock.advance(60)


async def reads_honour_retry_after(bench: Bench) -> None:
    """A read that is told to wait MUST wait that long before it asks again."""
    await bench.seed(1)
    await bench.connector.fingerprint()
    if "retry-after" not in bench.simulator.throttled(9.0).headers:
        return  # this vendor never says how long
    bench.slept.clear()
    bench.arm(FaultKind.THROTTLE, bench.harness.read_op, retry_after=9.0)
    changes, _ = await bench.read_all(full=True)
    must(len(changes) == 1 and sum(bench.slept) >= 9.0, "Retry-After was not honoured")


async def failing_reads_raise_typed_errors(bench: Bench) -> None:
    """A read that keeps failing MUST raise an Unreachable or a VendorError, and never bring a wrong page."""
    await bench.seed(2)
    await bench.connector.fingerprint()
    for kind in (*_TRANSIENT, FaultKind.ECHO):
        bench.simulator.faults.clear()
        bench.arm(kind, bench.harness.read_op, times=None, seconds=0.0)
        try:
            await bench.read_all(full=True)
        except (Unreachable, VendorError) as error:
            bench.show(error)
            must(error.message, "an error has no words")
        except HubError as error:
            must(False, f"{kind} was raised as {type(error).__name__}")
        else:
            must(False, f"a read that met only {kind} brought a page")


async def secrets_stay_secret(bench: Bench) -> None:
    """No secret MUST stand in any log line, error, outcome or repr, whatever the system answers."""
    ids = await bench.seed(1)
    await bench.connector.fingerprint()
    bench.show(
        bench.connector, bench.connector.manifest, vars(bench.connector) if hasattr(bench.connector, "__dict__") else ""
    )
    for op in (bench.harness.read_op, bench.harness.get_op, bench.harness.find_op, bench.harness.write_op, ""):
        for kind in (FaultKind.ECHO, FaultKind.MALFORMED, FaultKind.HTTP_500, FaultKind.RESET):
            bench.simulator.faults.clear()
            bench.arm(kind, op, times=None)
            await _tour(bench, ids)
    bench.simulator.faults.clear()
    wrong = bench.another(bench.harness.wrong(bench.settings), fresh_tokens=True)
    bench.show(*await wrong.check())
    bench.require_no_secrets()


async def _tour(bench: Bench, ids: Sequence[str]) -> None:
    """Everything that could show a secret, its errors collected."""

    async def fresh() -> None:
        bench.show(*await bench.another(fresh_tokens=True).check())

    async def create() -> None:
        bench.show(*await bench.create(77))

    async def find() -> None:
        await bench.finds().find(bench.object, [{bench.harness.key: "x"}])

    async def read() -> None:
        await bench.read_all(full=True)

    async def get() -> None:
        await bench.get(list(ids))

    for step in (read, get, find, create, fresh):
        try:
            await step()
        except HubError as error:
            bench.show(error)


def _possible(bench: Bench, outcome: Outcome, n: int) -> bool:
    made = bench.harness.made(bench.simulator, n)
    if outcome.kind is OutcomeKind.UNKNOWN:
        return made <= 1
    return made == (1 if outcome.kind in {OutcomeKind.OK, OutcomeKind.PARTLY} else 0)
