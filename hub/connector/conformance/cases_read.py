"""Conformance: reading pages, getting by id, finding by key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hub.connector.conformance.bench import Bench, broken, latest, must
from hub.connector.contract import GetKind, ReadRequest, Reads
from hub.connector.faults import FaultKind
from hub.domain.errors import HubError
from hub.domain.record import ChangeKind


def paging(count: Callable[[int], int], what: str) -> tuple[str, str, Callable[[Bench], Awaitable[None]]]:
    """The case of reading as many records as `count` makes of the page size."""

    async def run(bench: Bench) -> None:
        ids = await bench.seed(count(bench.harness.page))
        for full in (False, True):
            changes, _ = await bench.read_all(full=full)
            read = [change.record.id for change in changes]
            how = "full" if full else "incremental"
            must(set(read) == set(ids), f"a {how} read of {len(ids)} records gave {len(set(read))} of them")
            must(not full or len(read) == len(ids), f"a {how} read gave records twice")

    rule = f"A read of {what} MUST give every record, and a full one each of them once."
    return f"paging_{what.replace(' ', '_')}", rule, run


async def full_scan_says_complete(bench: Bench) -> None:
    """A full scan MUST say `complete` on its last page, and on no other."""
    await bench.seed(bench.harness.page + 1)
    said = [page.complete async for page in bench.pages(full=True)]
    must(len(said) > 1, "page + 1 records came in one page; the harness's page is wrong")
    must(said == [False] * (len(said) - 1) + [True], f"`complete` was said as {said}")


async def cursor_restarts_at_every_page(bench: Bench) -> None:
    """A cursor MUST survive the store and serve another process at every page."""
    ids = await bench.seed(3 * bench.harness.page + 1)
    for full in (False, True):
        changes, _ = await bench.read_all(full=full, restart=True)
        must({change.record.id for change in changes} == set(ids), "a read that restarted at every page lost records")


async def a_page_can_be_read_again(bench: Bench) -> None:
    """The same cursor MUST give the same page again while nothing changes: the first answer may have been lost."""
    await bench.seed(2 * bench.harness.page)
    before = None
    async for page in bench.pages():
        again = await anext(bench.pages(cursor=before) if before else bench.pages())
        first, second = ([change.record.id for change in which.changes] for which in (page, again))
        must(first == second, "the same cursor gave another page")
        before = page.cursor


async def incremental_read_sees_changes(bench: Bench) -> None:
    """After a read has ended, its cursor MUST bring what changed since, and at length nothing else."""
    ids = await bench.seed(bench.harness.page + 2)
    _, cursor = await bench.read_all()
    bench.simulator.clock.advance(3600)
    await bench.harness.edit(bench.simulator, ids[0], 1)
    new = await bench.seed(1, start=10_000)
    changes, cursor = await bench.read_all(cursor=cursor)
    seen = latest(changes)
    must({ids[0], *new} <= set(seen), "an incremental read missed a change")
    changed = seen[ids[0]]
    text = bench.harness.text_field
    must(changed and changed.fields.get(text) == bench.harness.changed(1)[text], "it brought an old state")
    must(len(seen) <= 2 + bench.harness.page // 2, "an incremental read brought far more than what changed")
    bench.simulator.clock.advance(3600)
    changes, cursor = await bench.read_all(cursor=cursor)
    bench.simulator.clock.advance(3600)
    changes, _ = await bench.read_all(cursor=cursor)
    must(not changes, "a quiet system still brings changes")


async def since_bounds_a_first_read(bench: Bench) -> None:
    """A first read with `since` MUST bring everything from then on, and nothing that is hours older."""
    old = await bench.seed(2)
    bench.simulator.clock.advance(7200)
    since = bench.simulator.clock.now()
    new = await bench.seed(2, start=100)
    read = {change.record.id for change in (await bench.read_all(since=since))[0]}
    must(set(new) <= read, "a read with `since` missed a newer record")
    must(not set(old) & read, "a read with `since` brought records that are hours older")


async def read_is_stable_while_records_change(bench: Bench) -> None:
    """Records that change, appear or go while it reads MUST NOT make a read lose others, nor the last state of any."""
    page = bench.harness.page
    ids = await bench.seed(3 * page)
    alive, text = set(ids), bench.harness.text_field
    want: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    cursor, turn = None, 0
    while turn < 50:
        turn += 1
        async for part in bench.pages(cursor=cursor):
            cursor = part.cursor
            seen |= latest(part.changes)
            if turn == 1 and len(want) < 12:
                n = len(want)
                bench.simulator.clock.advance(0.01)
                for id in (ids[n], ids[-1 - n]):  # one that was read, one that is to come
                    await bench.harness.edit(bench.simulator, id, n)
                    want[id] = bench.harness.changed(n)[text]
                gone = ids[2 * page - 5 - n]
                await bench.harness.remove(bench.simulator, gone)
                alive.discard(gone)
                want.pop(gone, None)
                alive |= set(await bench.harness.seed(bench.simulator, 50_000 + n, 1))
        bench.simulator.clock.advance(600)
        if turn >= 3:
            break
    lost = alive - set(seen)
    must(not lost, f"{len(lost)} records were lost by a read during which others changed")
    for id, value in want.items():
        record = seen[id]
        must(record and record.fields.get(text) == value, "the last state of a record that changed was not read")


async def whole_records_have_every_field(bench: Bench) -> None:
    """A whole record MUST hold every field of the schema, null where the vendor leaves it out."""
    (id,) = await bench.seed(1)
    schema = await bench.schema()
    missing = set(schema.fields) - set((await bench.got(id)).fields)
    must(not missing, f"get left out {', '.join(sorted(missing))}")
    changes, _ = await bench.read_all()
    plain = {name for name, field in schema.fields.items() if field.rows is None}
    missing = plain - set(changes[0].record.fields)
    must(not missing, f"read left out {', '.join(sorted(missing))}")


async def chosen_fields_are_enough(bench: Bench) -> None:
    """A get of chosen fields MUST bring those."""
    (id,) = await bench.seed(1)
    wanted = frozenset({bench.harness.key, bench.harness.text_field})
    (answer,) = await bench.get([id], wanted)
    must(answer.record and wanted <= set(answer.record.fields), "a chosen field is missing")
    assert answer.record is not None
    must(answer.record.fields[bench.harness.key] == bench.harness.sample(0)[bench.harness.key], "it has another value")


async def reads_bring_chosen_fields(bench: Bench) -> None:
    """A read of chosen fields MUST bring those, with id and time all the same."""
    (id,) = await bench.seed(1)
    wanted = frozenset({bench.harness.key})
    page = await bench.reads().read(ReadRequest(bench.object, fields=wanted, full=True), None)
    (record,) = [change.record for change in page.changes]
    must(record.id == id and wanted <= set(record.fields), "a chosen field is missing")
    schema = await bench.schema()
    must(not schema.modified_field or record.modified is not None, "without all fields it has no modification time")


async def values_hold_no_floats(bench: Bench) -> None:
    """Values MUST be JSON without binary fractions; decimals are text."""
    (id,) = await bench.seed(1)
    records = [await bench.got(id), *(change.record for change in (await bench.read_all())[0])]
    for record in records:
        must(not _has_float(record.fields), "a record holds a float")


async def records_carry_id_and_time(bench: Bench) -> None:
    """A read record MUST carry its object, its id, and a version or modification time where the schema has one."""
    (id,) = await bench.seed(1)
    schema = await bench.schema()
    for record in (await bench.got(id), (await bench.read_all())[0][0].record):
        must((record.object, record.id) == (bench.object, id), "a record does not know who it is")
        must(not schema.modified_field or record.modified is not None, "a record has no modification time")
        near = record.modified is None or abs(record.modified - bench.simulator.clock.now()) < 86_400_000
        must(near, "the modification time is not in epoch milliseconds")


async def get_answers_many_in_order(bench: Bench) -> None:
    """get() MUST answer any number of ids, in the order asked, also when one stands twice."""
    schema = await bench.schema()
    ids = await bench.seed(min(schema.capabilities.get_batch + 3, 250))
    asked = [*reversed(ids), ids[0]]
    for answer in await bench.get(asked, frozenset({bench.harness.key})):
        found = answer.kind is GetKind.FOUND and answer.record is not None and answer.record.id == answer.id
        must(found, f"get said {answer.kind} of a record that exists")
        must(answer.asked <= answer.answered, "an answer must have been asked before it was answered")
    must(await bench.get([]) == [], "get of nothing must answer nothing")


async def get_of_gone_is_gone(bench: Bench) -> None:
    """get() of a removed record MUST say gone, without troubling the others."""
    ids = await bench.seed(3)
    await bench.harness.remove(bench.simulator, ids[1])
    kinds = [answer.kind for answer in await bench.get(ids)]
    must(kinds == [GetKind.FOUND, GetKind.GONE, GetKind.FOUND], f"get said {kinds}")


async def failed_get_is_never_gone(bench: Bench) -> None:
    """get() of a system that fails MUST NOT say gone."""
    (id,) = await bench.seed(1)
    await bench.got(id)
    bench.arm(FaultKind.HTTP_500, bench.harness.get_op, times=None)
    try:
        (answer,) = await bench.get([id])
    except HubError as error:
        bench.show(error)
    else:
        must(answer.kind is GetKind.CANT_TELL, f"get said {answer.kind} although the system failed")


async def find_by_key(bench: Bench) -> None:
    """find() MUST answer every key in order: found, several keys a call, absent."""
    schema = await bench.schema()
    count = min(schema.capabilities.find_batch + 3, 120)
    ids = await bench.seed(count)
    keys = [{bench.harness.key: bench.harness.sample(n)[bench.harness.key]} for n in range(count)]
    asked: list[dict[str, Any]] = [*reversed(keys), {bench.harness.key: "no such thing"}]
    answers = await bench.finds().find(bench.object, asked)
    must(len(answers) == len(asked), "find must answer every key")
    for answer, id in zip(answers, reversed(ids), strict=False):
        must([record.id for record in answer.records] == [id], "find gave the wrong records for a key")
        must(not answer.cant_tell, "find can't tell what it told")
    must(not answers[-1].records and not answers[-1].cant_tell, "find of an absent key must find nothing, for sure")
    must(await bench.finds().find(bench.object, []) == [], "find of nothing must answer nothing")


async def find_matches_exactly(bench: Bench) -> None:
    """find() MUST match whole values only, and take quotes, wildcards and other alphabets as they are."""
    key = bench.harness.key
    value = str(bench.harness.sample(0)[key])
    await bench.seed(1)
    for near in (
        value[:-1],
        value + "x",
        "%",
        value[:-1] + "_",
        "o'brien",
        'say "x"',
        "北京",
        "' or '1'='1",
        "a\\",
        "",
    ):
        (answer,) = await bench.finds().find(bench.object, [{key: near}])
        must(not answer.records, f"find of {near!r} found another record")


async def failed_find_is_never_absent(bench: Bench) -> None:
    """find() of a system that fails MUST NOT say absent."""
    await bench.seed(1)
    await bench.connector.fingerprint()
    for kind in (FaultKind.HTTP_500, FaultKind.THROTTLE, FaultKind.MALFORMED, FaultKind.RESET):
        bench.simulator.faults.clear()
        bench.arm(kind, bench.harness.find_op, times=None)
        try:
            (answer,) = await bench.finds().find(bench.object, [{bench.harness.key: "no such thing"}])
        except HubError as error:
            bench.show(error)
        else:
            must(answer.cant_tell, f"find said absent although the system answered with {kind}")


async def children_answer_every_master(bench: Bench) -> None:
    """children() MUST have an entry for every master, with all of its rows."""
    if bench.harness.detail is None:
        broken("the harness names no detail object; exempt this case with a reason")
    detail, master_field = bench.harness.detail
    ids = await bench.seed(3)
    found = await bench.reads().children(detail, master_field, [*ids, "nobody"])
    must(set(found) == {*ids, "nobody"}, "children must answer every master")
    must(not found["nobody"], "children of nobody must be none")
    for id in ids:
        must(found[id], "a master lost its rows")
        for row in found[id]:
            must(row.object == detail, "a row does not know its object")
            must(row.fields.get(master_field) == id, "a row came under another master")


async def deletes_are_seen(bench: Bench) -> None:
    """Where the schema says `sees_deletes`, a removed record MUST come as deleted; elsewhere never wrongly."""
    schema = await bench.schema()
    ids = await bench.seed(2)
    _, cursor = await bench.read_all()
    bench.simulator.clock.advance(600)
    await bench.harness.remove(bench.simulator, ids[0])
    bench.simulator.clock.advance(bench.harness.lag + 1)
    changes, _ = await bench.read_all(cursor=cursor)
    deleted = {change.record.id for change in changes if change.kind is ChangeKind.DELETED}
    must(deleted <= {ids[0]}, "a record that exists came as deleted")
    must(not schema.capabilities.sees_deletes or deleted == {ids[0]}, "a removed record did not come as deleted")


async def reads_find_nothing_in_an_empty_system(bench: Bench) -> None:
    """An empty system MUST be read as empty, to its end."""
    must(isinstance(bench.connector, Reads), "the connector does not read")
    changes, cursor = await bench.read_all()
    must(not changes and cursor is not None, "an empty system brought changes")
    changes, _ = await bench.read_all(cursor=cursor)
    must(not changes, "an empty system brought changes on the second read")


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_float(member) for member in value.values())
    if isinstance(value, list):
        return any(_has_float(member) for member in value)
    return isinstance(value, float)
