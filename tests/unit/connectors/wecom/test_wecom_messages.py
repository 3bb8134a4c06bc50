"""Messages: what leaves, what is refused before it does, and what is delivered once."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.wecom.connector import WeComConnector
from connectors.wecom.simulator import WeComSimulator
from hub.connector.contract import Op, ReadRequest, Write
from hub.connector.faults import Fault, FaultKind
from hub.domain.errors import VendorError
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import RowsWrite, RowWrite
from tests.unit.connectors.wecom.conftest import Make, Stranger

TEXT: dict[str, Any] = {"to": ["zhangsan"], "content": "订单已确认"}
CARD: dict[str, Any] = {"to": ["lisi"], "title": "折扣审批", "url": "https://crm.example.com/q/1"}


async def send(connector: WeComConnector, object: str, fields: dict[str, Any], **more: Any) -> Outcome:
    (outcome,) = await connector.write(object, [Write(Op.CREATE, fields=fields, **more)])
    return outcome


def sent(simulator: WeComSimulator, object: str) -> list[dict[str, Any]]:
    return [row["body"] for row in simulator.table(object)]


async def test_a_text_goes_to_members_and_departments(simulator: WeComSimulator, connector: WeComConnector) -> None:
    outcome = await send(connector, "message:text", {**TEXT, "to_departments": ["2"]})
    assert outcome.ok
    row = simulator.table("message:text").get(str(outcome.id))
    assert row is not None
    assert row["delivered"] == ["zhangsan", "lisi"]
    body = row["body"]
    assert (body["touser"], body["toparty"], body["agentid"]) == ("zhangsan", "2", 1000002)
    assert (body["enable_duplicate_check"], body["duplicate_check_interval"]) == (1, 14_400)


async def test_a_text_card_has_title_text_link_and_button(simulator: WeComSimulator, connector: WeComConnector) -> None:
    fields = {"to": ["zhangsan"], "title": "t", "description": "d", "url": "https://a.example", "button": "查看"}
    assert (await send(connector, "message:textcard", fields)).ok
    (body,) = sent(simulator, "message:textcard")
    assert body["textcard"] == {"title": "t", "description": "d", "url": "https://a.example", "btntxt": "查看"}


async def test_a_card_without_buttons_is_a_notice(simulator: WeComSimulator, connector: WeComConnector) -> None:
    rows = {"facts": RowsWrite([RowWrite("1", None, {"name": "金额", "value": "120,000"})])}
    fields = {**CARD, "subtitle": "客户 A", "emphasis": "120,000", "quote": "年度框架", "source": "CRM"}
    assert (await send(connector, "message:card", fields, rows=rows, stamp="crm:QuoteObj:q1")).ok
    (body,) = sent(simulator, "message:card")
    card = body["template_card"]
    assert card.pop("task_id").startswith("hub-")
    assert card == {
        "card_type": "text_notice",
        "main_title": {"title": "折扣审批", "desc": "客户 A"},
        "emphasis_content": {"title": "120,000"},
        "source": {"desc": "CRM"},
        "quote_area": {"type": 0, "quote_text": "年度框架"},
        "horizontal_content_list": [{"keyname": "金额", "value": "120,000"}],
        "card_action": {"type": 1, "url": "https://crm.example.com/q/1"},
    }


async def test_a_card_with_buttons_calls_back_and_is_known_by_its_task(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    buttons = [RowWrite(key, None, {"key": key, "text": text}) for key, text in (("agree", "同意"), ("refuse", "驳回"))]
    outcome = await send(connector, "message:card", CARD, rows={"buttons": RowsWrite(buttons)}, stamp="k")
    assert outcome.ok
    (body,) = sent(simulator, "message:card")
    card = body["template_card"]
    assert card["card_type"] == "button_interaction"
    assert [one["key"] for one in card["button_list"]] == ["agree", "refuse"]
    assert len(simulator.messages.codes) == 1


@pytest.mark.parametrize(
    ("object", "fields", "field"),
    [
        ("message:text", {"content": "x"}, "to"),
        ("message:text", {"to": ["a"]}, "content"),
        ("message:text", {"to": [f"u{n}" for n in range(1001)], "content": "x"}, "to"),
        ("message:text", {"to": ["a"], "content": "长" * 683}, "content"),
        ("message:textcard", {"to": ["a"], "title": "x" * 129, "description": "d", "url": "https://a"}, "title"),
        ("message:textcard", {"to": ["a"], "title": "x", "description": "d"}, "url"),
        ("message:text", {**TEXT, "no_such": "x"}, "no_such"),
        ("robot:sales", {"content": " "}, "content"),
        ("robot:sales", {"content": "x", "format": "voice"}, "format"),
        ("robot:sales", {"content": "长" * 1366}, "content"),
        ("robot:sales", {"content": "x", "format": "markdown_v2", "mention": ["a"]}, "format"),
        ("robot:sales", {"content": "x", "mention_mobiles": ["138"]}, "format"),
    ],
)
async def test_what_would_be_cut_or_refused_never_leaves(
    simulator: WeComSimulator, connector: WeComConnector, object: str, fields: dict[str, Any], field: str
) -> None:
    outcome = await send(connector, object, fields)
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.failure is not None
    assert outcome.failure.field == field
    assert simulator.counts["message/send"] + simulator.counts["webhook/send"] == 0


async def test_a_receiver_whom_nobody_knows_does_not_keep_it_from_the_others(
    simulator: WeComSimulator, connector: WeComConnector, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await send(connector, "message:text", {**TEXT, "to": ["zhangsan", "Nobody"]})).ok
    assert "nobody" in caplog.text
    outcome = await send(connector, "message:text", {**TEXT, "to": ["Nobody"]})
    assert (outcome.kind, outcome.failure and outcome.failure.code) == (OutcomeKind.REJECTED, "81013")


async def test_a_message_whose_answer_was_lost_is_delivered_once(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    await connector.fingerprint()
    simulator.faults.arm(Fault(kind=FaultKind.HTTP_500_AFTER_COMMIT, op="message/send"))
    assert (await send(connector, "message:text", TEXT, stamp="k")).kind is OutcomeKind.UNKNOWN
    assert (await send(connector, "message:text", TEXT, stamp="k")).ok
    assert len(sent(simulator, "message:text")) == 1
    assert simulator.counts["suppressed"] == 1
    schema = await connector.describe("message:text")
    assert schema.facts.repeats_within == 14_400


async def test_after_its_interval_the_platform_tells_it_again(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    await send(connector, "message:text", TEXT)
    simulator.clock.advance(14_401)
    await send(connector, "message:text", TEXT)
    assert len(sent(simulator, "message:text")) == 2


async def test_without_the_check_messages_are_not_repeated(make: Make) -> None:
    connector = make(duplicate_seconds=0)
    assert (await connector.describe("message:text")).facts.repeats_within == 0
    assert (await connector.describe("robot:sales")).facts.repeats_within == 0


async def test_no_message_is_dropped_in_silence(simulator: WeComSimulator, connector: WeComConnector) -> None:
    """Over thirty a minute to one member the platform drops the rest and says ok: the connector waits instead."""
    batch = [Write(Op.CREATE, fields={**TEXT, "content": f"第 {n} 条"}) for n in range(35)]
    assert all(outcome.ok for outcome in await connector.write("message:text", batch))
    assert simulator.counts["dropped"] == 0
    assert sum(bool(row["delivered"]) for row in simulator.table("message:text")) == 35


async def test_a_message_can_be_called_back_once(simulator: WeComSimulator, connector: WeComConnector) -> None:
    id = (await send(connector, "message:text", TEXT)).id
    recall = Write(Op.OPERATION, id=id, operation="recall")
    kinds = [(await connector.write("message:text", [recall]))[0].kind for _ in range(2)]
    assert kinds == [OutcomeKind.OK, OutcomeKind.REJECTED]


async def test_messages_can_not_be_read_and_say_so(connector: WeComConnector) -> None:
    with pytest.raises(VendorError, match="can only be written") as caught:
        await connector.read(ReadRequest("message:text"), None)
    assert not caught.value.retryable
    (answer,) = await connector.find("message:text", [{"content": "x"}])
    assert answer.cant_tell


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"content": "**x**"}, {"msgtype": "markdown", "markdown": {"content": "**x**"}}),
        ({"content": "x", "mention": ["lisi"]}, {"msgtype": "markdown", "markdown": {"content": "x\n<@lisi>"}}),
        (
            {"content": "x", "format": "text", "mention": ["@all"], "mention_mobiles": ["138"]},
            {"msgtype": "text", "text": {"content": "x", "mentioned_list": ["@all"], "mentioned_mobile_list": ["138"]}},
        ),
    ],
)
async def test_a_robot_speaks(
    simulator: WeComSimulator, connector: WeComConnector, fields: dict[str, Any], body: dict[str, Any]
) -> None:
    outcome = await send(connector, "robot:sales", fields, stamp="crm:SalesOrderObj:o1")
    assert (outcome.kind, outcome.id) == (OutcomeKind.OK, "crm:SalesOrderObj:o1")
    assert sent(simulator, "robot:sales") == [body]


async def test_a_robot_keeps_to_twenty_a_minute(simulator: WeComSimulator, connector: WeComConnector) -> None:
    batch = [Write(Op.CREATE, fields={"content": f"第 {n} 条"}) for n in range(25)]
    assert all(outcome.ok for outcome in await connector.write("robot:sales", batch))
    assert len(sent(simulator, "robot:sales")) == 25


async def test_a_robot_that_was_removed_is_told_in_words(simulator: WeComSimulator, connector: WeComConnector) -> None:
    simulator.messages.robots.clear()
    outcome = await send(connector, "robot:sales", {"content": "x"})
    assert (outcome.kind, outcome.failure and outcome.failure.code) == (OutcomeKind.REJECTED, "93000")


# ---- the simulator's own rules ---------------------------------------------------------------------------------------


async def test_the_simulator_uses_a_response_code_once_and_for_three_days(
    simulator: WeComSimulator, stranger: Stranger
) -> None:
    card = {
        "card_type": "button_interaction",
        "task_id": "t",
        "main_title": {"title": "x"},
        "button_list": [{"key": "a"}],
    }
    body = {"touser": "lisi", "agentid": 1000002, "msgtype": "template_card", "template_card": card}
    codes = [(await stranger.call("message/send", body))["response_code"] for _ in range(2)]
    update = {"agentid": 1000002, "userids": ["lisi"], "response_code": codes[0], "button": {"replace_name": "已同意"}}
    assert [await stranger.code("message/update_template_card", update) for _ in range(2)] == [0, 60140]
    simulator.clock.advance(72 * 3600 + 1)
    stranger.tokens.clear()
    assert await stranger.code("message/update_template_card", {**update, "response_code": codes[1]}) == 60140


async def test_the_simulator_drops_the_thirty_first_in_silence(simulator: WeComSimulator, stranger: Stranger) -> None:
    body = {"touser": "lisi", "agentid": 1000002, "msgtype": "text", "text": {"content": "x"}}
    assert {await stranger.code("message/send", body) for _ in range(31)} == {0}
    assert simulator.counts["dropped"] == 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"touser": ""}, 82001),
        ({"agentid": 1}, 301002),
        ({"agentid": "x"}, 40056),
        ({"msgtype": "smoke"}, 40008),
        ({"text": {"content": ""}}, 44004),
        ({"text": {"content": "x" * 2049}}, 45002),
    ],
)
async def test_the_simulator_refuses_what_the_platform_refuses(
    stranger: Stranger, more: dict[str, Any], code: int
) -> None:
    body = {"touser": "lisi", "agentid": 1000002, "msgtype": "text", "text": {"content": "x"}}
    assert await stranger.code("message/send", {**body, **more}) == code
