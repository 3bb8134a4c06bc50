"""Callbacks against the worked vectors of the vendor sheet, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from connectors.crm.fxiaoke.settings import FxiaokeSettings
from connectors.crm.fxiaoke.simulator_events import Sealer
from connectors.crm.fxiaoke.webhook import AppCallback, ChangeCallback, receive
from hub.connector.contract import WebhookRefused, WebhookRequest
from hub.connector.webhook import aes_encrypt, aes_key, sorted_sha1

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CONTENT = (
    "qW8wOpzMweFHsT8YFvuGq3w8XLIDVhCluwRP8EzbAdnAz0qCth4kLM+LsddVEHErq3aQWEO+sgJG8eqMjVBbSDCOfcMXAENVdPX/7wUrV6RSqlViGw+C08MZ"
    "nnCbmW3g2N5T0KSN/zFIuv8pJu3JnviXEw9mtmYcaFkvpxR44qqspFgvfKO63yuoPagZnAcjDzgvt/oEQoM8L+ZKJwun4A=="
)
FIRST = "9015101c9c0f3ef0792c0fb0f04769194449da07"
RETRIED = "d362dad4aee454fa10047d3c7dcf870f9137ac3e"
SENT = 1_700_000_001_000
APP_CONTENT = (
    "4j/AuRx71kQlxVlzbpsMWP96JZ1IHCmKfyeTyVpRFWJ6KrzLvIz8CsH7DXoj0m3V/cE8/HBarhYDzTJBjU95GXDob0159A7s1JKAnrLZ08cb5hik8LfTbrhI0"
    "WQaXmF5QBNilojLyVhKdjReEQ3JVQ=="
)
APP_SIG = "4d6d911252a0f1190024587f73048640ec68ef6c"


def body(signature: str = FIRST, **more: Any) -> dict[str, Any]:
    return {
        "signature": signature,
        "timestamp": SENT,
        "nonce": "nonce0123456789a",
        "messageId": "MSG-0001",
        "enterpriseAccount": "demoea",
        "encryptedContent": CONTENT,
        **more,
    }


def app_body(**more: Any) -> dict[str, Any]:
    return {"timeStamp": str(SENT), "nonce": "n-1", "content": APP_CONTENT, "sig": APP_SIG, **more}


def request(given: dict[str, Any], received: int = SENT) -> WebhookRequest:
    return WebhookRequest("POST", "/hooks/crm", {}, {}, json.dumps(given).encode(), received)


def settings(**more: Any) -> FxiaokeSettings:
    return FxiaokeSettings(app_id="FSAID_demo", app_secret="s", permanent_code="p", **more)


@pytest.mark.parametrize(("given", "signature"), [({}, FIRST), ({"retryTimes": 1}, RETRIED)])
def test_change_callback_vector(given: dict[str, Any], signature: str) -> None:
    received = ChangeCallback(KEY, 3600).receive(body(signature, **given), SENT)
    (event,) = received.events
    assert (event.object, event.id, event.kind) == ("AccountObj", "65aa17a9f318b90001726517", "changed")
    assert event.at == 1_700_000_000_000
    assert received.dedupe == "change:MSG-0001"


def test_reply_vector() -> None:
    reply = ChangeCallback(KEY, 3600).reply("success", 1_700_000_002_000, "4242")
    assert json.loads(reply.body) == {
        "signature": "e81f68923dac3aac07b5cf71af3629a774b29dc3",
        "timestamp": 1_700_000_002_000,
        "nonce": "4242",
        "encryptedResult": "ArsKAyhvk7QKghXe0zdCeQ==",
    }


def test_the_simulators_own_sealing_gives_the_vector() -> None:
    event = {
        "tenantId": 100001,
        "eventType": "update",
        "apiName": "AccountObj",
        "dataId": "65aa17a9f318b90001726517",
        "timestamp": 1_700_000_000_000,
        "messageId": "MSG-0001",
    }
    sealer = Sealer("demoea", KEY)
    first = json.loads(sealer.sealed(event, at=SENT, nonce="nonce0123456789a"))
    again = json.loads(sealer.sealed(event, at=SENT, retry_times=1, nonce="nonce0123456789a"))
    assert (first["encryptedContent"], first["signature"], "retryTimes" in first) == (CONTENT, FIRST, False)
    assert (again["retryTimes"], again["signature"]) == (1, RETRIED)


def test_app_callback_vector() -> None:
    received = AppCallback("tokendemo", KEY.rstrip("="), "FSAID_demo", 500).receive(app_body(), SENT)
    assert received.reply.body == b"success"
    assert list(received.events) == []
    opened = AppCallback("tokendemo", KEY.rstrip("="), "FSAID_demo", 500).opened(APP_CONTENT)
    assert opened == b'{"type":"PermanentCode","content":"PCODE-1"}'


def test_app_callback_without_a_header_is_read_too() -> None:
    content = aes_encrypt(aes_key(KEY), b'{"type":"Message","content":"{}"}')
    sig = sorted_sha1(["tokendemo", str(SENT), "n-1", content])
    callback = AppCallback("tokendemo", KEY.rstrip("="), "FSAID_demo", 500)
    assert callback.receive(app_body(content=content, sig=sig), SENT).reply.body == b"success"


@pytest.mark.parametrize(
    "changed",
    [
        {"signature": "0" * 40},
        {"nonce": "other"},
        {"messageId": "MSG-0002"},
        {"retryTimes": 1},
        {"enterpriseAccount": "other"},
        {"encryptedContent": CONTENT[:-4] + "AA=="},
        {"timestamp": SENT + 1},
    ],
)
def test_a_changed_member_breaks_the_signature(changed: dict[str, Any]) -> None:
    with pytest.raises(WebhookRefused, match="signature"):
        ChangeCallback(KEY, 3600).receive({**body(), **changed}, SENT)


@pytest.mark.parametrize("missing", ["signature", "timestamp", "nonce", "messageId", "enterpriseAccount"])
def test_a_missing_member_is_refused(missing: str) -> None:
    given = body()
    del given[missing]
    with pytest.raises(WebhookRefused):
        ChangeCallback(KEY, 3600).receive(given, SENT)


def test_the_window_bounds_both_ways() -> None:
    callback = ChangeCallback(KEY, 600)
    assert callback.receive(body(), SENT + 562_000).events
    for away in (601_000, -601_000):
        with pytest.raises(WebhookRefused, match="timestamp"):
            callback.receive(body(), SENT + away)


def test_another_enterprise_is_refused() -> None:
    with pytest.raises(WebhookRefused, match="enterprise"):
        ChangeCallback(KEY, 3600, ea="another").receive(body(), SENT)


@pytest.mark.parametrize(
    ("told", "kind"), [("create", "created"), ("invalid", "deleted"), ("recover", "changed"), ("merged?!", "changed")]
)
def test_any_event_type_is_a_hint_to_fetch(told: str, kind: str) -> None:
    event = {"eventType": told, "apiName": "SalesOrderProductObj", "dataId": "l1", "messageId": "M"}
    sealed = json.loads(Sealer("demoea", KEY).sealed(event, at=SENT))
    (found,) = ChangeCallback(KEY, 3600).receive(sealed, SENT).events
    assert (found.object, found.id, found.kind) == ("SalesOrderProductObj", "l1", kind)


def test_an_event_without_a_record_is_refused() -> None:
    sealed = json.loads(Sealer("demoea", KEY).sealed({"eventType": "update", "messageId": "M"}, at=SENT))
    with pytest.raises(WebhookRefused, match="names no record"):
        ChangeCallback(KEY, 3600).receive(sealed, SENT)


def test_receive_tells_the_callbacks_apart_and_wants_their_secrets() -> None:
    both = settings(aes_key=KEY, app_token="tokendemo", app_aes_key=KEY.rstrip("="))
    assert receive(both, request(body())).dedupe == "change:MSG-0001"
    assert receive(both, request(app_body())).dedupe == f"app:{APP_SIG}"
    with pytest.raises(WebhookRefused, match="none of the vendor's"):
        receive(both, request({"hello": 1}))
    for given in (body(), app_body()):
        with pytest.raises(WebhookRefused, match=r"is set|are set"):
            receive(settings(), request(given))


def test_another_apps_message_is_refused() -> None:
    with pytest.raises(WebhookRefused, match="another app"):
        AppCallback("tokendemo", KEY.rstrip("="), "FSAID_other", 500).receive(app_body(), SENT)


def test_the_reply_is_what_the_sender_accepts() -> None:
    callback, sealer = ChangeCallback(KEY, 3600), Sealer("demoea", KEY)
    assert sealer.accepts(callback.reply("success", SENT).body)
    assert not sealer.accepts(callback.reply("error", SENT).body)
    assert not sealer.accepts(b"success")
    stranger = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
    assert not sealer.accepts(ChangeCallback(stranger, 3600).reply("success", SENT).body)


@hypothesis.given(st.text(min_size=1), st.text(min_size=1), st.text(), st.integers(0, 5))
def test_what_is_sealed_is_opened_as_it_was(object: str, id: str, kind: str, retries: int) -> None:
    event = {"apiName": object, "dataId": id, "eventType": kind, "messageId": "M"}
    sealed = Sealer("demoea", KEY).sealed(event, at=SENT, retry_times=retries)
    hook = WebhookRequest("POST", "/", {}, {}, sealed, SENT)
    (found,) = receive(settings(aes_key=KEY), hook).events
    assert (found.object, found.id) == (object, id)


@hypothesis.given(st.integers(0), st.integers(0, 255))
def test_one_changed_byte_is_refused_or_changes_nothing(place: int, byte: int) -> None:
    true = json.dumps(body()).encode()
    bad = bytearray(true)
    bad[place % len(bad)] = byte
    both = settings(aes_key=KEY, app_token="tokendemo", app_aes_key=KEY.rstrip("="))
    hook = WebhookRequest("POST", "/", {}, {}, bytes(bad), SENT)
    try:
        received = receive(both, hook)
    except WebhookRefused:
        return
    assert [(event.object, event.id) for event in received.events] == [("AccountObj", "65aa17a9f318b90001726517")]


_MEMBERS = st.sampled_from(
    ["signature", "timestamp", "nonce", "messageId", "enterpriseAccount", "encryptedContent", "sig"]
)
_JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()) | st.just("\ud800")


@hypothesis.given(st.dictionaries(_MEMBERS, _JSON))
def test_whatever_comes_is_refused_or_true(given: dict[str, Any]) -> None:
    both = settings(aes_key=KEY, app_token="tokendemo", app_aes_key=KEY.rstrip("="))
    for sent in (given, {**body(), **given}, {**app_body(), **given}):
        try:
            received = receive(both, request(sent))
        except WebhookRefused:
            continue
        assert received.dedupe in {"change:MSG-0001", f"app:{APP_SIG}"}
