"""Messages: signatures by the worked vectors, bodies by type, what is dropped in silence, and sent once."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from connectors.dingtalk.messages import robot_sign
from connectors.dingtalk.simulator import DingTalkSimulator
from hub.connector.contract import GetKind, Op, ReadRequest, Write
from hub.connector.faults import Fault, FaultKind
from hub.domain.errors import InvalidInput
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import RowsWrite, RowWrite
from tests.unit.connectors.dingtalk.conftest import Desk, Make

NOTE, ROBOT = "work_notification", "robot:sales"


@pytest.mark.parametrize(
    ("secret", "sign", "in_address"),
    [
        (
            "SEChub0123456789",
            "1LXTbOJShtzqK1IZUEoos+a6vWAw0A5q/e1l1xaovjo=",
            "1LXTbOJShtzqK1IZUEoos%2Ba6vWAw0A5q%2Fe1l1xaovjo%3D",
        ),
        ("hubAppSecret0001", "zZ/paw2xP8kMl2vqSjjeCeiZNL7U2KEM9+CYlDnkFeA=", None),
    ],
)
def test_the_worked_signatures(secret: str, sign: str, in_address: str | None) -> None:
    assert robot_sign("1767225600000", secret) == sign
    assert in_address is None or quote(sign, safe="") == in_address


async def send(desk: Desk, object: str, stamp: str | None = "k", **fields: Any) -> Outcome:
    rows = fields.pop("rows", {})
    (outcome,) = await desk.connector.write(object, [Write(Op.CREATE, fields=fields, rows=rows, stamp=stamp)])
    return outcome


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"text": "到账"}, {"msgtype": "text", "text": {"content": "到账"}}),
        (
            {"msgtype": "markdown", "title": "t", "text": "**b**"},
            {"msgtype": "markdown", "markdown": {"title": "t", "text": "**b**"}},
        ),
        (
            {"msgtype": "action_card", "title": "t", "text": "b", "url": "https://crm/1", "button": "打开"},
            {
                "msgtype": "action_card",
                "action_card": {"title": "t", "markdown": "b", "single_title": "打开", "single_url": "https://crm/1"},
            },
        ),
    ],
)
async def test_notifications_have_the_vendors_bodies(
    desk: Desk, simulator: DingTalkSimulator, fields: dict[str, Any], body: dict[str, Any]
) -> None:
    outcome = await send(desk, NOTE, userid_list=["zhangwei", "lina"], **fields)
    assert outcome.ok, outcome.failure
    row = simulator.table(NOTE).get(str(outcome.id))
    assert row is not None
    assert row["msg"] == body
    assert simulator.messages.delivered(str(outcome.id)) == ["zhangwei", "lina"]


async def test_an_oa_message_has_a_form_and_a_status_bar_that_can_change(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    form = {"form": RowsWrite([RowWrite("1", None, {"key": "客户", "value": "武汉机械厂"})])}
    outcome = await send(desk, NOTE, userid_list=["lina"], title="t", status_value="待处理", rows=form)
    id = str(outcome.id)
    update = Write(Op.UPDATE, id, fields={"status_value": "已处理", "status_bg": "0xFF78C06E"})
    (changed,) = await desk.connector.write(NOTE, [update])
    assert changed.ok, changed.failure
    row = simulator.table(NOTE).get(id)
    assert row is not None
    assert row["msg"]["oa"]["body"]["form"] == [{"key": "客户", "value": "武汉机械厂"}]
    assert row["msg"]["oa"]["status_bar"]["status_value"] == "已处理"
    (refused,) = await desk.connector.write(NOTE, [Write(Op.UPDATE, id, fields={"text": "x"})])
    assert refused.kind is OutcomeKind.BLOCKED


async def test_what_was_dropped_in_silence_shows_when_it_is_read(desk: Desk) -> None:
    first = await send(desk, NOTE, userid_list=["lina"], text="同样的话")
    second = await send(desk, NOTE, userid_list=["lina", "nobody"], text="同样的话")
    assert first.ok
    assert second.ok  # the platform says so
    answers = await desk.connector.get(NOTE, [str(first.id), str(second.id)])
    told = [answer.record.fields for answer in answers if answer.record is not None]
    assert [(one["state"], one["undelivered"], one["dropped_for"]) for one in told] == [
        ("done", 0, []),
        ("done", 2, ["lina"]),
    ]


async def test_a_notification_whose_answer_was_lost_reaches_everybody_once(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    """Sent, answer lost, sent again as it was: the platform spares who has the content of that day already."""
    simulator.faults.arm(Fault(kind=FaultKind.HTTP_500_AFTER_COMMIT, op="^notify$"))
    fields = {"userid_list": ["lina", "zhangwei"], "text": "SO-1 已确认"}
    assert (await send(desk, NOTE, **fields)).kind is OutcomeKind.UNKNOWN
    assert (await send(desk, NOTE, **fields)).ok
    got = [person for row in simulator.table(NOTE) for person in simulator.messages.delivered(row["task_id"])]
    assert sorted(got) == ["lina", "zhangwei"]


async def test_what_nobody_can_look_up_says_for_how_long_it_may_be_repeated(make: Make) -> None:
    for chosen, note in (({}, 1800.0), ({"resend_within": 0}, 0.0)):
        connector = make(**chosen)
        facts = [(await connector.describe(object)).facts.repeats_within for object in (NOTE, ROBOT)]
        assert facts == [note, 86_400.0]
        assert all(answer.cant_tell for answer in await connector.find(NOTE, [{"title": "t"}]))


async def test_a_post_of_a_robot_whose_answer_was_lost_stands_once_in_the_group(
    desk: Desk, simulator: DingTalkSimulator
) -> None:
    simulator.faults.arm(Fault(kind=FaultKind.HTTP_500_AFTER_COMMIT, op="^robot$"))
    assert (await send(desk, ROBOT, text="SO-1")).kind is OutcomeKind.UNKNOWN
    again = await send(desk, ROBOT, text="SO-1")
    assert again.ok
    assert (await send(desk, ROBOT, stamp="another", text="SO-1")).id != again.id
    assert len(simulator.table(ROBOT)) == 2


async def test_a_robot_that_sends_too_fast_waits_ten_minutes(desk: Desk, simulator: DingTalkSimulator) -> None:
    for n in range(20):
        assert (await send(desk, ROBOT, stamp=str(n), text="x")).ok
    outcome = await send(desk, ROBOT, stamp="20", text="x")
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.NOT_EXECUTED, 600.0)
    assert (await send(desk, ROBOT, stamp="21", text="x")).ok  # the next call waits by itself
    assert len(simulator.table(ROBOT)) == 21


async def test_a_robots_body_names_whom_it_calls(desk: Desk, simulator: DingTalkSimulator) -> None:
    fields = {"msgtype": "action_card", "title": "t", "text": "b", "url": "https://crm/1", "at_users": ["lina"]}
    assert (await send(desk, ROBOT, **fields)).ok
    (row,) = simulator.table(ROBOT)
    assert row["body"]["actionCard"] == {"title": "t", "text": "b", "singleURL": "https://crm/1", "singleTitle": "查看"}
    assert row["body"]["at"] == {"atMobiles": [], "atUserIds": ["lina"], "isAtAll": False}


@pytest.mark.parametrize("object", [NOTE, ROBOT])
async def test_what_a_message_lacks_is_said_before_it_leaves(
    desk: Desk, simulator: DingTalkSimulator, object: str
) -> None:
    to = {"userid_list": ["lina"]} if object == NOTE else {}
    for fields, field in (
        ({"msgtype": "markdown", "text": "b"}, "title"),
        ({"msgtype": "fax", "text": "b"}, "msgtype"),
        ({"text": ["a"]}, "text"),
        ({"nothing": "x"}, "nothing"),
    ):
        outcome = await send(desk, object, **{**to, **fields})
        assert outcome.kind is OutcomeKind.REJECTED
        assert outcome.failure is not None
        assert outcome.failure.field == field
    assert simulator.counts["notify"] + simulator.counts["robot"] == 0


async def test_a_notification_to_nobody_or_too_long_is_refused(desk: Desk) -> None:
    for fields in ({"text": "x"}, {"text": "长" * 800, "userid_list": ["lina"]}):
        assert (await send(desk, NOTE, **fields)).kind is OutcomeKind.REJECTED


async def test_messages_are_no_source_and_nobody_tells_of_a_post(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="can't be a source"):
        await desk.connector.read(ReadRequest(NOTE), None)
    assert [one.kind for one in await desk.connector.get(ROBOT, ["x"])] == [GetKind.CANT_TELL]


async def test_a_notification_can_be_recalled(desk: Desk, simulator: DingTalkSimulator) -> None:
    sent = await send(desk, NOTE, userid_list=["lina"], text="错了")
    (outcome,) = await desk.connector.write(NOTE, [Write(Op.OPERATION, str(sent.id), operation="recall")])
    assert outcome.ok
    assert simulator.messages.delivered(str(sent.id)) == []
