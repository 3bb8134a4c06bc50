"""Conformance: writes that are answered."""

from __future__ import annotations

from typing import Any

from hub.connector.conformance.bench import Bench, broken, must
from hub.connector.contract import GetKind, Op, Write
from hub.connector.faults import FaultKind
from hub.domain.outcome import OutcomeKind


async def create_then_get(bench: Bench) -> None:
    """A create MUST report ok with the new id, and the record MUST hold what was written."""
    (outcome,) = await bench.create(0)
    must(outcome.ok, f"a good create ended as {outcome.kind}: {outcome.failure}")
    bench.truthful([outcome], [0])
    record = await bench.got(str(outcome.id))
    for name in (bench.harness.key, bench.harness.text_field):
        must(record.fields.get(name) == bench.harness.sample(0)[name], f"'{name}' is not what was written")


async def update_changes_what_was_sent(bench: Bench) -> None:
    """An update MUST change the fields that it holds, and no other."""
    (id,) = await bench.seed(1)
    before = await bench.got(id)
    bench.simulator.clock.advance(5)
    changed = bench.harness.changed(7)
    (outcome,) = await bench.write([Write(Op.UPDATE, id=id, fields=changed)])
    must(outcome.ok and outcome.id == id, f"a good update ended as {outcome.kind}: {outcome.failure}")
    after = await bench.got(id)
    schema = await bench.schema()
    for name, value in after.fields.items():
        field = schema.fields.get(name)
        if name in changed:
            must(value == changed[name], f"'{name}' is not what was written")
        elif field is not None and not (field.computed or field.readonly):
            must(value == before.fields.get(name), f"'{name}' changed although it was not sent")


async def partial_failure_in_a_batch(bench: Bench) -> None:
    """In a batch every write MUST get its own outcome, in order; a bad one MUST NOT take the others with it."""
    schema = await bench.schema()
    count = schema.capabilities.write_batch + 4
    bad = {1, count - 2}
    sample, invalid = bench.harness.sample, bench.harness.invalid
    batch = [Write(Op.CREATE, fields=invalid(n) if n in bad else sample(n)) for n in range(count)]
    outcomes = await bench.write(batch)
    for n, outcome in enumerate(outcomes):
        if n in bad:
            must(outcome.kind is OutcomeKind.REJECTED, f"what the system refused ended as {outcome.kind}")
            must(outcome.failure and outcome.failure.message, "a refusal came without the vendor's words")
        else:
            must(outcome.ok, f"a good write beside a bad one ended as {outcome.kind}: {outcome.failure}")
            bench.truthful([outcome], [n])
    ids = [str(outcome.id) for outcome in outcomes if outcome.ok]
    must(len(set(ids)) == len(ids), "two creates of a batch carry the same id")
    key = bench.harness.key
    good = [n for n in range(count) if n not in bad]
    for n, answer in zip(good, await bench.get(ids, frozenset({key})), strict=True):
        must(
            answer.record and answer.record.fields[key] == sample(n)[key], "outcomes are not in the order of the writes"
        )


async def nothing_is_written_for_nothing(bench: Bench) -> None:
    """An empty batch MUST give no outcomes and send nothing."""
    must(await bench.write([]) == [], "an empty batch gave outcomes")
    must(bench.harness.sends(bench.simulator, bench.harness.write_op) == 0, "an empty batch was sent")


async def update_of_gone_is_gone(bench: Bench) -> None:
    """An update of a removed record MUST be gone, never ok."""
    (id,) = await bench.seed(1)
    await bench.harness.remove(bench.simulator, id)
    (outcome,) = await bench.write([Write(Op.UPDATE, id=id, fields=bench.harness.changed(1))])
    must(outcome.kind is OutcomeKind.GONE, f"an update of a removed record ended as {outcome.kind}")


async def delete_removes(bench: Bench) -> None:
    """A delete MUST remove the record, and of one that is gone MUST report gone or ok."""
    (id,) = await bench.seed(1)
    if not (await bench.schema()).capabilities.delete:
        broken("the object can't be deleted; exempt this case with a reason")
    (outcome,) = await bench.write([Write(Op.DELETE, id=id)])
    must(outcome.ok, f"a delete ended as {outcome.kind}: {outcome.failure}")
    (answer,) = await bench.get([id])
    must(answer.kind is GetKind.GONE, f"get of a deleted record said {answer.kind}")
    (outcome,) = await bench.write([Write(Op.DELETE, id=id)])
    must(outcome.kind in {OutcomeKind.GONE, OutcomeKind.OK}, f"a second delete ended as {outcome.kind}")


async def unicode_survives(bench: Bench) -> None:
    """Text MUST arrive and come back as it is: other alphabets, emoji, quotes, line breaks, markup."""
    text = bench.harness.text_field
    odd = ["北京市朝阳区", "Zoë ñandú Ж", "🚀👨‍👩‍👧", "a\"b'c\\d", "a\nb", "<b>&amp;</b>", "%s {0} ${x}", "𠮷野家"]
    batch = [
        Write(Op.CREATE, fields={**bench.harness.sample(n), text: _around(value, bench, n)})
        for n, value in enumerate(odd)
    ]
    outcomes = await bench.write(batch)
    for n, (write, outcome) in enumerate(zip(batch, outcomes, strict=True)):
        must(outcome.ok, f"text number {n} ended as {outcome.kind}: {outcome.failure}")
        record = await bench.got(str(outcome.id))
        must(
            record.fields.get(text) == write.fields[text],
            f"{write.fields[text]!r} came back as {record.fields.get(text)!r}",
        )


async def long_values_fit_or_are_refused(bench: Bench) -> None:
    """The longest text MUST fit; a longer one MUST be refused or kept whole, never cut in silence."""
    text, length = bench.harness.text_field, bench.harness.text_length
    for n, size in enumerate((length, length + 1)):
        value = _around("长" * size, bench, n)[:size]
        (outcome,) = await bench.write([Write(Op.CREATE, fields={**bench.harness.sample(n), text: value})])
        if size > length and not outcome.ok:
            must(outcome.kind is OutcomeKind.REJECTED, f"a text too long ended as {outcome.kind}")
            continue
        must(outcome.ok, f"a text of {size} characters ended as {outcome.kind}: {outcome.failure}")
        must((await bench.got(str(outcome.id))).fields.get(text) == value, "a long text was cut in silence")


async def empty_clears(bench: Bench) -> None:
    """An update with null MUST empty the field, and it MUST be read as null (or blank)."""
    text = bench.harness.text_field
    if text == bench.harness.key:
        broken("the harness names no text field that may be empty; exempt this case with a reason")
    (id,) = await bench.seed(1)
    (outcome,) = await bench.write([Write(Op.UPDATE, id=id, fields={text: None})])
    must(outcome.ok, f"an update with null ended as {outcome.kind}: {outcome.failure}")
    must((await bench.got(id)).fields.get(text, "absent") in (None, ""), "a cleared field is not empty")


async def a_key_that_exists_is_duplicate(bench: Bench) -> None:
    """A create whose key exists already MUST be duplicate (or ok, where the vendor allows it), never rejected."""
    (first,) = await bench.create(0)
    (second,) = await bench.create(0)
    allowed = {OutcomeKind.DUPLICATE, OutcomeKind.OK}
    must(first.ok and second.kind in allowed, f"a second create with the same key ended as {second.kind}")
    made = bench.harness.made(bench.simulator, 0)
    must(made == (2 if second.ok else 1), f"a second create ended as {second.kind}, and {made} records were made")
    must(first.id != second.id, "two creates carry the same id")


async def write_never_raises(bench: Bench) -> None:
    """write() MUST NOT raise for what is wrong with a write: every one gets its outcome."""
    (id,) = await bench.seed(1)
    text = bench.harness.text_field
    odd = [
        Write(Op.CREATE),
        Write(Op.CREATE, fields={**bench.harness.sample(1), "no_such_field_at_all": "x"}),
        Write(Op.CREATE, fields={**bench.harness.sample(2), text: ["a", {"b": 1}]}),
        Write(Op.CREATE, fields=bench.harness.sample(3), steps=("no_such_step",)),
        Write(Op.UPDATE, fields=bench.harness.changed(1)),
        Write(Op.UPDATE, id="no-such-id", fields=bench.harness.changed(1)),
        Write(Op.UPDATE, id=id),
        Write(Op.DELETE, id="no-such-id"),
        Write(Op.DELETE),
        Write(Op.OPERATION, id=id, operation="no_such_operation"),
        Write(Op.OPERATION, id=id),
    ]
    outcomes = await bench.write(odd)
    for write, outcome in zip(odd, outcomes, strict=True):
        must(outcome.ok or (outcome.failure and outcome.failure.message), f"{write.op} has neither success nor words")
        must(outcome.kind is not OutcomeKind.UNKNOWN, f"an odd {write.op} is unknown although the system answered")
    for at in (0, 4, 5, 9, 10):
        must(not outcomes[at].ok, f"{odd[at].op} number {at} can't have been executed, but is ok")
    (good,) = await bench.create(50)
    must(good.ok, f"after odd writes a good one ended as {good.kind}: {good.failure}")


async def steps_resume_where_they_stopped(bench: Bench) -> None:
    """A write of several steps MUST report those that are done, and MUST start again at the missing one."""
    steps = tuple(bench.harness.step_ops)
    if not steps:
        broken("the harness names no steps; exempt this case with a reason")
    for n, step in enumerate(steps):
        bench.simulator.faults.clear()
        bench.arm(FaultKind.THROTTLE, bench.harness.step_ops[step], times=1)
        (first,) = await bench.write([Write(Op.CREATE, fields=bench.harness.sample(n), steps=steps)])
        done = ("save", *steps[:n])
        must(first.kind is OutcomeKind.PARTLY, f"a write whose step '{step}' was refused ended as {first.kind}")
        must(first.steps == done, f"done are {done}, reported {first.steps}")
        must(first.id and first.failure, "a write that is partly done must carry its id and what went wrong")
        again = Write(Op.CREATE, id=first.id, fields=bench.harness.sample(n), steps=steps, done=first.steps)
        (second,) = await bench.write([again])
        must(second.ok and second.id == first.id, f"the resumed write ended as {second.kind}: {second.failure}")
        must(bench.harness.made(bench.simulator, n) == 1, "the resumed write saved a second time")


def _around(value: str, bench: Bench, n: int) -> Any:
    """Where the text field is the key, keep it unique."""
    return value + str(n) if bench.harness.text_field == bench.harness.key else value
