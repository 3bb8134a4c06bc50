"""Pushes over HTTP: the worked vectors of the crypto, spellings, what is refused and what is merely ignored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from connectors.dingtalk.connector import DingTalkConnector
from connectors.dingtalk.events import dedupe_of, events_of
from connectors.dingtalk.simulator import DingTalkSimulator
from connectors.dingtalk.simulator_push import Sealer
from connectors.dingtalk.webhook import Envelope
from hub.connector.contract import Event, WebhookRefused, WebhookRequest
from hub.connector.webhook import aes_key

TOKEN, KEY, APP = "hubDingTok1", "zyxwvutsrqponmlkjihgfedcba9876543210ZYXWVUQ", "dinghubapp0000001"
TIMESTAMP, NONCE, RANDOM = "1767225600000", "Xk3p9QzA", b"0123456789abcdef"
EVENT = (
    '{"EventType":"bpms_instance_change","processInstanceId":"PI-0001","processCode":"PROC-0001","corpId":"dinghubcorp000001",'
    '"type":"finish","result":"agree","title":"合同审批","createTime":1767225500000,"finishTime":1767225600000,"staffId":"manager01"}'
)
SEALED_EVENT = (
    "z1s6m/IsbR3fDb3vl6WTAC9YcYb79w0EhfwaXw4QpPXz+nGK4b/UmDur4zaSkTB9zl69X1Za+PgLKEW+VxucSpc6yfqXw8HWd5Ghok36p4hbYyu7cZV3"
    "ARD0gme6fsIQ+/Y6hxP7+TnR0cfmMzBg9xwddt0wYTkTFAG52KwuUIC+xMSGoMFpyYPB+QpQihWDdHT93qBk2RiKsEyUv9feN6/RFg/fFPiyosDmHALv"
    "5EcPYq6xjuHNKNEVV1N3BBlzzb2iDZ0ApNq8Dr/JDrPhcZBZjRxmsBm/hCgnty2oni1sJ4OvGANXfn01FKhYEVsTbmAdgPtWSpflM+wgOW25owlDjjzG"
    "tZldRJ+YRrNtBN+0kgzCqKv2mP69DnyQbADp9Rk2ycpRZEBfqB1GtkM7p3oT7gbqy7f7uQ4B34Ce57A="
)
SEALED_CHECK = "z1s6m/IsbR3fDb3vl6WTAC1DIdwxFXFgS9lMezDnb8Iz/VWoJ8DENQi3ZZqkNx/6r8N39a2xRcEcVAW6eZSI2A=="
SEALED_SUCCESS = "z1s6m/IsbR3fDb3vl6WTAGPVhda40G8AboDeHDpqvjMREvWtfJ9OOBGZo2S5s7ySRIk3VIVR6MDWbb3oZuHaWQ=="


def envelope() -> Envelope:
    return Envelope(TOKEN, aes_key(KEY), (APP, "dinghubcorp000001"))


@pytest.mark.parametrize(
    ("plain", "sealed", "signature"),
    [
        (EVENT, SEALED_EVENT, "1ec97fbc3c945b86c83e103c3306ce1f9df21a1c"),
        ('{"EventType":"check_url"}', SEALED_CHECK, "9814930ce3e84de3834bff12f6b77853ccb95950"),
        ("success", SEALED_SUCCESS, "14a5511d5d2c8e33a138c4accc5907514de1c6a8"),
    ],
)
def test_the_worked_vectors_open_seal_and_sign(plain: str, sealed: str, signature: str) -> None:
    ours, theirs = envelope(), Sealer(TOKEN, KEY, APP)
    assert ours.open(sealed) == (plain.encode(), APP)
    assert ours.seal(plain.encode(), APP, random=RANDOM) == sealed
    assert theirs.seal(plain, random=RANDOM) == sealed
    assert theirs.open(sealed) == plain
    assert ours.sign(TIMESTAMP, NONCE, sealed) == theirs.sign(TIMESTAMP, NONCE, sealed) == signature


def test_the_vendors_published_vector_with_a_key_whose_last_bits_are_not_zero() -> None:
    known = Envelope("123456", aes_key("1234567890123456789012345678901234567890123"), ("dingsnotzck6pm5veliw",))
    sealed = "YvkvaGe4hQxd3VxRmEty0dVlnCOAqwf56xwTRHDHoOURqhalbmBJQk5FNcRk42Gl5T0YQXZNwpwWSm1xAFJ5ZA=="
    assert known.sign("1614767836", "A7Co0cJLMzIDtMMI", sealed) == "9a95a004dd16f5c307e849b994173f76aa26e5eb"
    assert known.open(sealed) == (b"success", "dingsnotzck6pm5veliw")


def request(sealed: str, signature: str, *, name: str = "msg_signature", at: int = int(TIMESTAMP)) -> WebhookRequest:
    query = {name: signature, "timestamp": TIMESTAMP, "nonce": NONCE}
    return WebhookRequest("POST", "/hooks/dingtalk", query, {}, json.dumps({"encrypt": sealed}).encode(), at)


@pytest.mark.parametrize("name", ["msg_signature", "signature"])
def test_an_event_is_received_under_either_name_of_its_signature_and_answered_as_the_vendor_checks(
    make: Any, name: str
) -> None:
    connector: DingTalkConnector = make(templates={"contract": "PROC-0001"})
    received = connector.receive(request(SEALED_EVENT, "1ec97fbc3c945b86c83e103c3306ce1f9df21a1c", name=name))
    assert [(event.object, event.id) for event in received.events] == [("approval:contract", "PI-0001")]
    reply = json.loads(received.reply.body)
    assert set(reply) == {"msg_signature", "timeStamp", "nonce", "encrypt"}
    assert all(isinstance(value, str) for value in reply.values())
    assert Sealer(TOKEN, KEY, APP).says_success(received.reply.body)


def test_the_test_event_of_the_console_is_answered_and_hints_at_nothing(connector: DingTalkConnector) -> None:
    received = connector.receive(request(SEALED_CHECK, "9814930ce3e84de3834bff12f6b77853ccb95950"))
    assert received.events == []
    assert Sealer(TOKEN, KEY, APP).says_success(received.reply.body)


def pushed(connector: DingTalkConnector, event: Mapping[str, Any], sealer: Sealer) -> Any:
    sealed = sealer.seal(json.dumps(event))
    body = json.dumps({"encrypt": sealed}).encode()
    at = int(TIMESTAMP)
    return connector.receive(WebhookRequest("POST", "/hooks/d", sealer.query(sealed, at), {}, body, at))


def test_the_owner_may_be_the_app_or_the_organisation_and_nobody_else(connector: DingTalkConnector) -> None:
    event = {"EventType": "user_modify_org", "UserId": ["zhangwei", "lina"], "eventId": "e1"}
    for owner in (APP, "dinghubcorp000001"):
        sealer = Sealer(TOKEN, KEY, owner)
        received = pushed(connector, event, sealer)
        assert [(one.object, one.id) for one in received.events] == [("user", "zhangwei"), ("user", "lina")]
        assert sealer.says_success(received.reply.body)
    with pytest.raises(WebhookRefused) as refused:
        pushed(connector, event, Sealer(TOKEN, KEY, "suiteanother000001"))
    assert refused.value.status == 403


def test_a_push_from_long_ago_is_refused(connector: DingTalkConnector) -> None:
    late = request(SEALED_CHECK, "9814930ce3e84de3834bff12f6b77853ccb95950", at=int(TIMESTAMP) + 7_200_000)
    with pytest.raises(WebhookRefused, match="7200 s away"):
        connector.receive(late)


def test_without_a_subscription_nothing_is_trusted(make: Any) -> None:
    connector: DingTalkConnector = make(callback_token=None, callback_aes_key=None)
    with pytest.raises(WebhookRefused, match="no callback_token"):
        connector.receive(request(SEALED_CHECK, "9814930ce3e84de3834bff12f6b77853ccb95950"))


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("bpms_task_change", {"processInstanceId": "P", "processCode": "C", "type": "start"}, "approval:x P changed"),
        (
            "bpms_instance_change",
            {"processInstanceId": "P", "processCode": "C", "type": "start"},
            "approval:x P created",
        ),
        (
            "bpms_instance_change",
            {"processInstanceId": "P", "processCode": "C", "type": "delete"},
            "approval:x P deleted",
        ),
        ("bpms_instance_change", {"processInstanceId": "P", "processCode": "OTHER", "type": "finish"}, ""),
        ("user_leave_org", {"userId": ["u"]}, "user u deleted"),
        ("org_dept_create", {"DeptId": [7]}, "department 7 created"),
        ("todo_task_create", {"taskId": "t"}, ""),
        ("bpms_instance_change", {"processInstanceId": 7, "processCode": "C"}, ""),
    ],
)
def test_what_events_are_about(kind: str, fields: dict[str, Any], expected: str) -> None:
    events = events_of(kind, fields, lambda code: "approval:x" if code == "C" else None)
    assert " ".join(f"{one.object} {one.id} {one.kind}" for one in events) == expected


def test_both_ways_give_the_same_event() -> None:
    def code(_: object) -> str:
        return "approval:x"

    http = {"EventType": "e", "EventTime": 5, "processInstanceId": "P", "processCode": "C", "type": "finish"}
    stream = {"eventTime": "5", "processInstanceId": "P", "processCode": "C", "type": "finish"}
    expected = [Event("approval:x", "P", "changed", 5)]
    assert events_of("bpms_instance_change", http, code) == events_of("bpms_instance_change", stream, code) == expected


def test_events_without_an_id_of_their_own_are_told_apart_by_all_that_they_say() -> None:
    """Two changes by one person in one second are two (a key of person and second threw one of them away elsewhere)."""
    one = {"processInstanceId": "P", "type": "finish", "staffId": "u", "finishTime": 1, "taskId": 1}
    assert dedupe_of("bpms_task_change", one) == dedupe_of("bpms_task_change", dict(reversed(one.items())))
    assert dedupe_of("bpms_task_change", one) != dedupe_of("bpms_task_change", {**one, "taskId": 2})
    assert dedupe_of("bpms_task_change", {**one, "eventId": "e"}) == "event:e"


async def test_a_callback_that_nobody_takes_is_parked_under_its_own_name(simulator: DingTalkSimulator) -> None:
    simulator.callback_given_up(b'{"EventType": "bpms_instance_change", "EventTime": 1, "processInstanceId": "P"}')
    (parked,) = simulator.parked
    assert parked["call_back_tag"] == "bpms_instance_change"
    assert parked["bpms_instance_change"]["bpmsCallBackData"]["processInstanceId"] == "P"
