"""Approvals: started once, watched until they are decided, found by the hub's key, with their files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.wecom.connector import WeComConnector
from connectors.wecom.simulator import WeComSimulator
from connectors.wecom.simulator_forms import Template, control
from hub.connector.contract import Cursor, GetKind, Op, Page, ReadRequest, Write
from hub.connector.files import FileRefused, FileStream
from hub.domain.errors import NotFound, VendorError
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import ChangeKind, Record, RowsWrite, RowWrite
from tests.unit.connectors.wecom.conftest import Make, Stranger

OBJECT = "approval:discount"
FORM: dict[str, Any] = {"creator": "zhangsan", "报价单号": "QT-1", "客户": "武汉机械厂", "报价金额": "1200.50"}


async def start(connector: WeComConnector, object: str = OBJECT, **more: Any) -> Outcome:
    stamp = more.pop("stamp", "crm:QuoteObj:q1:1")
    options = more.pop("options", {})
    (outcome,) = await connector.write(
        object, [Write(Op.CREATE, fields={**FORM, **more}, stamp=stamp, options=options)]
    )
    return outcome


async def got(connector: WeComConnector, id: str, object: str = OBJECT) -> Record:
    (answer,) = await connector.get(object, [id])
    assert answer.record is not None
    return answer.record


async def act(simulator: WeComSimulator, id: str, operation: str, actor: str, **fields: Any) -> None:
    change = {"op": "operation", "object": OBJECT, "id": id, "operation": operation, "actor": actor, "fields": fields}
    await simulator.change(change)


async def read_on(connector: WeComConnector, cursor: Cursor | None) -> tuple[dict[str, Record | None], Cursor]:
    """All pages of one read: the last state of each record (None: deleted), and where the next one goes on."""
    found: dict[str, Record | None] = {}
    while True:
        page: Page = await connector.read(ReadRequest(OBJECT), cursor)
        cursor = page.cursor
        for change in page.changes:
            found[change.record.id] = None if change.kind is ChangeKind.DELETED else change.record
        if not page.more:
            return found, cursor


async def test_the_schema_is_the_templates_own(connector: WeComConnector) -> None:
    schema = await connector.describe(OBJECT)
    assert (schema.label, schema.origin) == ("折扣审批", "live")
    assert schema.fields["报价单号"].required
    assert schema.fields["紧急程度"].options == {"option-1": "普通", "option-2": "加急"}
    assert list(schema.fields["产品明细"].rows or {}) == ["_row", "产品", "数量", "成交价"]
    assert schema.capabilities.stamp_field == "集成键"
    assert schema.facts.repeats_within is None


async def test_the_catalogues_form_is_a_part_of_the_live_one(connector: WeComConnector) -> None:
    """The mappings are checked against the catalogue without a network: it must not promise what the template lacks."""
    live = (await connector.describe(OBJECT)).fields
    for name, field in connector.catalogue(OBJECT).fields.items():
        assert (field.type, field.many) == (live[name].type, live[name].many), name


def test_a_form_of_ones_own_is_not_known_without_the_network(connector: WeComConnector) -> None:
    with pytest.raises(NotFound, match="described by WeCom alone"):
        connector.catalogue("approval:contract")


async def test_a_template_without_the_key_is_neither_found_nor_repeated(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    contract = simulator.approvals.templates[1]
    bare = [shape for shape in contract.controls if shape["property"]["title"][0]["text"] != "集成键"]
    simulator.approvals.templates[1] = Template(contract.alias, contract.id, contract.name, bare)
    schema = await connector.describe("approval:contract")
    assert (schema.capabilities.stamp_field, schema.facts.repeats_within) == (None, 0.0)
    (finding,) = [one for one in await connector.check() if not one.ok]
    assert "集成键" in finding.what
    assert finding.hint is not None


async def test_an_approval_carries_its_lines_and_the_hubs_key(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    rows = [
        RowWrite("l1", None, {"产品": "轴承", "数量": "10"}),
        RowWrite("l2", None, {"产品": "电机", "成交价": "6.00"}),
    ]
    write = Write(Op.CREATE, fields=dict(FORM), rows={"产品明细": RowsWrite(rows)}, stamp="crm:QuoteObj:q1:1")
    (outcome,) = await connector.write(OBJECT, [write])
    assert outcome.ok
    assert outcome.keys == {"number": outcome.id}
    assert outcome.rows == {"产品明细": {"l1": "1", "l2": "2"}}
    record = await got(connector, str(outcome.id))
    assert record.fields["集成键"] == "crm:QuoteObj:q1:1"
    assert record.fields["产品明细"] == [
        {"_row": "1", "产品": "轴承", "数量": "10", "成交价": None},
        {"_row": "2", "产品": "电机", "数量": None, "成交价": "6.00"},
    ]
    assert (record.fields["sp_status"], record.fields["pending_with"]) == ("1", ["lisi"])


async def test_its_way_is_told_with_who_when_and_in_which_words(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    id = str((await start(connector)).id)
    simulator.clock.advance(60)
    await act(simulator, id, "transfer", "lisi", to="wangwu", opinion="请王五看")
    waiting = await got(connector, id)
    assert (waiting.fields["pending_with"], waiting.fields["decided_by"]) == (["wangwu"], None)
    simulator.clock.advance(60)
    await act(simulator, id, "agree", "wangwu", opinion="同意，下不为例")
    record = await got(connector, id)
    at = simulator.clock.now() // 1000 * 1000
    assert {name: record.fields[name] for name in ("sp_status", "decided_by", "opinion", "pending_with")} == {
        "sp_status": "2",
        "decided_by": "wangwu",
        "opinion": "同意，下不为例",
        "pending_with": None,
    }
    assert abs(int(str(record.fields["decided_at"])) - at) <= 1000
    steps = record.fields["steps"]
    assert isinstance(steps, list)
    assert [(step["who"], step["state"]) for step in steps if isinstance(step, dict)] == [
        ("lisi", "4"),
        ("wangwu", "2"),
    ]


@pytest.mark.parametrize(
    ("deeds", "state"),
    [
        ((("refuse", "lisi"),), "3"),
        ((("withdraw", "zhangsan"),), "4"),
        ((("agree", "lisi"), ("withdraw", "zhangsan")), "6"),
        ((("agree", "lisi"), ("pay", "lisi")), "10"),
    ],
)
async def test_every_end_is_seen_by_polling_alone(
    simulator: WeComSimulator, connector: WeComConnector, deeds: tuple[tuple[str, str], ...], state: str
) -> None:
    id = str((await start(connector)).id)
    simulator.clock.advance(120)
    found, cursor = await read_on(connector, None)
    assert set(found) == {id}
    for deed, actor in deeds:
        simulator.clock.advance(300)
        await act(simulator, id, deed, actor)
        found, cursor = await read_on(connector, cursor)
    record = found[id]
    assert record is not None
    assert record.fields["sp_status"] == state


async def test_what_is_decided_is_not_looked_at_for_ever(simulator: WeComSimulator, connector: WeComConnector) -> None:
    id = str((await start(connector)).id)
    simulator.clock.advance(120)
    _, cursor = await read_on(connector, None)
    await act(simulator, id, "refuse", "lisi")
    _, cursor = await read_on(connector, cursor)
    assert cursor["open"] == {}
    simulator.clock.advance(600)
    before = simulator.counts["oa/getapprovaldetail"]
    found, after = await read_on(connector, cursor)
    assert (found, after["open"]) == ({}, {})
    assert after["from"] > cursor["from"]
    assert simulator.counts["oa/getapprovaldetail"] == before


async def test_a_deleted_approval_comes_as_deleted(simulator: WeComSimulator, connector: WeComConnector) -> None:
    id = str((await start(connector)).id)
    simulator.clock.advance(120)
    _, cursor = await read_on(connector, None)
    await simulator.change({"op": "delete", "object": OBJECT, "id": id, "actor": "admin"})
    found, _ = await read_on(connector, cursor)
    assert found == {id: None}
    assert [one.kind for one in await connector.get(OBJECT, [id])] == [GetKind.GONE]


async def test_a_poll_that_comes_again_at_once_does_not_go_backwards(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    _, cursor = await read_on(connector, None)
    for _ in range(5):
        _, after = await read_on(connector, cursor)
        assert after["from"] >= cursor["from"]
        cursor = after


async def test_months_are_read_in_windows_and_pages_may_be_short(simulator: WeComSimulator, make: Make) -> None:
    connector = make(page_size=3)
    simulator.approvals.short_pages = True
    ids = []
    for _ in range(8):
        ids.append(str((await start(connector)).id))
        simulator.clock.advance(10 * 86_400)
    found, _ = await read_on(connector, None)
    assert set(found) == set(ids)
    full: list[str] = []
    cursor: Cursor | None = None
    while True:
        page = await connector.read(ReadRequest(OBJECT, full=True), cursor)
        full += [change.record.id for change in page.changes]
        cursor = page.cursor
        if not page.more:
            break
    assert page.complete
    assert sorted(full) == sorted(ids)


async def test_one_that_is_listed_and_can_not_be_read_does_not_stop_the_others(
    simulator: WeComSimulator, connector: WeComConnector, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = [str((await start(connector)).id) for _ in range(2)]
    simulator.clock.advance(120)
    table = simulator.table(OBJECT)
    row = table.get(first)
    assert row is not None
    table.put(first, {**row, "sp_no": "209901010001"})
    found, _ = await read_on(connector, None)
    assert set(found) == {second}
    assert "209901010001" in caplog.text


async def test_the_hubs_key_finds_an_approval_whose_answer_was_lost(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    ids = [str((await start(connector, stamp=f"key-{n}")).id) for n in range(3)]
    keys = [{"集成键": "key-1"}, {"集成键": "key"}, {"集成键": "KEY-1"}, {"集成键": ""}, {}]
    answers = await connector.find(OBJECT, keys)
    assert [[one.id for one in answer.records] for answer in answers] == [[ids[1]], [], [], [], []]
    assert not any(answer.cant_tell for answer in answers)


async def test_a_second_search_asks_for_nothing_that_is_known(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    for n in range(5):
        await start(connector, stamp=f"key-{n}")
    await connector.find(OBJECT, [{"集成键": "key-0"}])
    before = simulator.counts["oa/getapprovaldetail"]
    await connector.find(OBJECT, [{"集成键": "nobody"}])
    assert simulator.counts["oa/getapprovaldetail"] == before


async def test_approvers_of_ones_own_go_one_after_another(simulator: WeComSimulator, connector: WeComConnector) -> None:
    more = {"approvers": ["lisi", "wangwu"], "cc": ["zhaoliu"], "options": {"use_template_approver": False}}
    id = str((await start(connector, **more)).id)
    await act(simulator, id, "agree", "lisi")
    record = await got(connector, id)
    assert (record.fields["sp_status"], record.fields["pending_with"]) == ("1", ["wangwu"])
    assert record.fields["cc"] == ["zhaoliu"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"creator": None}, "creator"),
        ({"creator": ["zhangsan"]}, "creator"),
        ({"approvers": ["lisi"]}, "approvers"),
        ({"cc": ["lisi"]}, "cc"),
        ({"options": {"use_template_approver": False}}, "approvers"),
        ({"creator_department": "销售部"}, "creator_department"),
        ({"有效期至": "soon"}, "有效期至"),
        ({"没有这个": "x"}, "没有这个"),
    ],
)
async def test_what_can_not_be_right_never_leaves(
    simulator: WeComSimulator, connector: WeComConnector, more: dict[str, Any], field: str
) -> None:
    outcome = await start(connector, **more)
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert outcome.failure.field == field
    assert simulator.counts["oa/applyevent"] == 0


async def test_the_platforms_own_words_are_passed_on(connector: WeComConnector) -> None:
    outcome = await start(connector, 客户=None)
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert outcome.failure.code == "301025"
    assert "客户" in outcome.failure.message


async def test_a_template_that_changed_is_described_anew_after_its_refusal(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    assert (await start(connector)).ok
    old = simulator.approvals.templates[0]
    controls = [shape for shape in old.controls if shape["property"]["title"][0]["text"] != "客户"]
    controls.append(control("Text", "777", "客户"))
    simulator.approvals.templates[0] = Template(old.alias, old.id, old.name, controls)
    assert (await start(connector)).kind is OutcomeKind.REJECTED
    assert (await start(connector)).ok


@pytest.mark.parametrize("op", [Op.UPDATE, Op.DELETE])
async def test_a_submitted_approval_is_changed_by_nobody(connector: WeComConnector, op: Op) -> None:
    id = str((await start(connector)).id)
    (outcome,) = await connector.write(OBJECT, [Write(op, id=id, fields={"说明": "x"} if op is Op.UPDATE else {})])
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert "through the API" in outcome.failure.message


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_a_file_goes_with_the_form_and_comes_back(connector: WeComConnector) -> None:
    content = b"%PDF-1.7 " + bytes(range(256))
    ref = await connector.upload(OBJECT, "附件", FileStream("报价单.pdf", pieces(content), size=len(content)))
    record = await got(connector, str((await start(connector, 附件=[ref])).id))
    assert record.fields["附件"] == [ref]
    async with connector.download(OBJECT, record.id, "附件", ref) as file:
        assert b"".join([piece async for piece in file]) == content
        assert file.name == "报价单.pdf"


async def test_a_file_that_is_gone_is_not_found_and_its_write_is_refused(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    ref = await connector.upload(OBJECT, "附件", FileStream("a.pdf", pieces(b"x" * 10), size=10))
    simulator.clock.advance(4 * 86_400)
    with pytest.raises(NotFound, match="40007"):
        async with connector.download(OBJECT, "1", "附件", ref):
            pytest.fail("it is gone")
    outcome = await start(connector, 附件=[ref])
    assert (outcome.kind, outcome.failure and outcome.failure.code) == (OutcomeKind.REJECTED, "40007")


@pytest.mark.parametrize("size", [5, 20 * 1024 * 1024 + 1])
async def test_files_outside_the_platforms_limits_never_leave(
    simulator: WeComSimulator, connector: WeComConnector, size: int
) -> None:
    with pytest.raises(FileRefused, match="WeCom takes files of 6 to"):
        await connector.upload(OBJECT, "附件", FileStream("a.pdf", pieces(b""), size=size))
    assert simulator.counts["media/upload"] == 0


async def test_a_token_that_ends_in_mid_upload_is_renewed_for_the_next(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    await connector.describe(OBJECT)
    simulator.expire_tokens()
    with pytest.raises(VendorError, match="42001"):
        await connector.upload(OBJECT, "附件", FileStream("a.pdf", pieces(b"x" * 10), size=10))
    assert await connector.upload(OBJECT, "附件", FileStream("a.pdf", pieces(b"x" * 10), size=10))


# ---- the simulator's own rules ---------------------------------------------------------------------------------------


def application(**more: Any) -> dict[str, Any]:
    contents = [
        {"control": "Text", "id": "Text-1569573770001", "value": {"text": "QT-1"}},
        {"control": "Text", "id": "Text-1569573770002", "value": {"text": "武汉"}},
        {"control": "Money", "id": "Money-1569573770003", "value": {"new_money": "1.00"}},
    ]
    body: dict[str, Any] = {
        "creator_userid": "zhangsan",
        "template_id": "3TkZuhTx1B8j3Rp4xCzNEeJ1oX7xLNvNgPUyHVwe",
        "use_template_approver": 1,
        "apply_data": {"contents": contents},
        "summary_list": [{"summary_info": [{"text": "x", "lang": "zh_CN"}]}],
    }
    return {**body, **more}


async def test_the_simulator_takes_a_good_application(stranger: Stranger) -> None:
    answer = await stranger.call("oa/applyevent", application())
    assert answer["errcode"] == 0
    assert answer["sp_no"].isdigit()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"template_id": "T0"}, 301026),
        ({"creator_userid": "nobody"}, 301025),
        ({"summary_list": []}, 301025),
        ({"apply_data": {"contents": []}}, 301025),
        ({"apply_data": {"contents": [{"control": "Text", "id": "Text-9", "value": {"text": "x"}}]}}, 301025),
        ({"use_template_approver": 0}, 301025),
    ],
)
async def test_the_simulator_checks_an_application_by_its_template(
    stranger: Stranger, more: dict[str, Any], code: int
) -> None:
    assert await stranger.code("oa/applyevent", application(**more)) == code


async def test_the_simulator_keeps_the_longest_window(stranger: Stranger) -> None:
    body = {"starttime": "1767196800", "endtime": str(1767196800 + 31 * 86_400), "size": 100}
    assert await stranger.code("oa/getapprovalinfo", body) == 0
    assert await stranger.code("oa/getapprovalinfo", {**body, "endtime": str(1767196801 + 31 * 86_400)}) == 301025
    assert await stranger.code("oa/getapprovalinfo", {**body, "size": 101}) == 301025


async def test_the_simulator_lets_nobody_act_out_of_turn(simulator: WeComSimulator, connector: WeComConnector) -> None:
    outcome = await start(connector)
    id = str(outcome.id)
    for deed, actor in (("agree", "zhaoliu"), ("fly", "lisi")):
        with pytest.raises(ValueError):
            await act(simulator, id, deed, actor)
    await act(simulator, id, "agree", "lisi")
    with pytest.raises(ValueError, match="decided already"):
        await act(simulator, id, "refuse", "lisi")


async def test_all_of_a_node_must_agree_where_the_template_says_so(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    write = Write(Op.CREATE, fields={"creator": "zhangsan", "合同编号": "C-1"}, stamp="k")
    (outcome,) = await connector.write("approval:contract", [write])
    for actor, state in (("lisi", "1"), ("wangwu", "1"), ("zhaoliu", "2")):
        change = {"op": "operation", "object": "approval:contract", "id": outcome.id, "operation": "agree"}
        await simulator.change({**change, "actor": actor})
        assert (await got(connector, str(outcome.id), "approval:contract")).fields["sp_status"] == state
