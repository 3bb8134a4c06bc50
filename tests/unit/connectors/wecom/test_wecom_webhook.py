"""Callbacks: the published vectors byte for byte, what each event hints at, and everything that is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from lxml import etree

from connectors.wecom.settings import WeComSettings
from connectors.wecom.simulator import WeComSimulator
from connectors.wecom.simulator_seal import Seal
from connectors.wecom.webhook import Envelope, events_of, read_xml, receive
from hub.connector.contract import Event, WebhookRefused, WebhookRequest

TOKEN, KEY, CORP = "hubWecomTok1", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFE", "ww5f0c1e2d3b4a6978"
PREFIX, NONCE = b"0123456789abcdef", "1372623149"
AT = 1_767_225_600_000
ECHO = "Q3stYC6hdFzMh9T8HCvyDOjpXLNauJhx2jaflIofLlWNh5mIH/9nXgu+O9f6Tg4B3HBxKQUN5wPtIPByyKg9uw=="
EVENT = (
    "<xml><ToUserName><![CDATA[ww5f0c1e2d3b4a6978]]></ToUserName><FromUserName><![CDATA[sys]]></FromUserName>"
    "<CreateTime>1767225600</CreateTime><MsgType><![CDATA[event]]></MsgType>"
    "<Event><![CDATA[sys_approval_change]]></Event><AgentID>3010040</AgentID>"
    "<ApprovalInfo><SpNo>202601010001</SpNo><SpStatus>2</SpStatus></ApprovalInfo></xml>"
)
SEALED_EVENT = (
    "Q3stYC6hdFzMh9T8HCvyDNNNPLgR8/Lk1XrhvT+BxbL/daIDmaaxH4gB74IGF7fDqxZfKlQsTJ/1M694u+ERso2SoGFeNDU8/ADC6NWuxIbR"
    "sJPG87MGjlWoIJ8Rb3D6orTUUaAI+dOk8B5tgznhiRpr8BjGHJVu42sd1qA7hcMpF4zsH+Q1u3zflisCDo47FfXSC+ZjhLDZIqHAK30nLtpw"
    "ke83T2IWdBWJCL0qVpD4g8hAP3EEoH4yeLXVY+7UWsak1wfV1KoKxJJXSSQ/C43/2RuVc8swcNcBbTawAIgo0qcQ5Dc6A+a8rt9Y5rThUPK8"
    "u0hVnGS5ePkxxfSkEBfIa2D5gD+gSN+v2KKc4JjHcejvnyfMFe5m4iUZ8bfiEa5f4E6bHrmVF1AL24FRLKVakIkjhkLzwmSObrmtPII0eHwp"
    "vmhY2HLPJ4lTOFuaqKXS5sqE+uA9Qox2qwO+doY12FJ5B6xvttbFIwiR63N+oKI2b/AmwI4u5JL9PbzE"
)
REPLY = (
    "<xml><ToUserName><![CDATA[zhangsan]]></ToUserName><FromUserName><![CDATA[ww5f0c1e2d3b4a6978]]></FromUserName>"
    "<CreateTime>1767225601</CreateTime><MsgType><![CDATA[update_button]]></MsgType>"
    "<Button><ReplaceName><![CDATA[已同意]]></ReplaceName></Button></xml>"
)
SEALED_REPLY = (
    "Q3stYC6hdFzMh9T8HCvyDPPN+F0mSXbI9zLTTbZWvBkKnDcK6iDB2C8LIRMkLFX5ghkvdZxryAFYrt/nXY92rYTxz+37FUG9IIRLBnR6ITZm"
    "ynC/PP7t6fpcEP7A0pNeY2f3u6ALOGa9CGZGOlTPs7e4PNbp5hvKtAktXozzokaw3m9CkA8ZonUorVYe9LlKRbQK40tAUjTSAgtJy//Zvwe9"
    "8SyAabu7kybsfvVqUpSh9pn3lD9uh/NfvBm2EkSixLGQ4ZyLweztc3WjBYj8gDlfgwfcstA7lT1MSE3yuYGhK+NhFi6UNzeS39FVjQ+3CV+i"
    "3qIktQRrsZWvwzdeOW2shzmpxpwJHZ7/M4280lSkt9TAjMrNngZd4PBNrY+d3zSM2z70C5KH8bVIYaKHypB0GtNcIzsMn9nv3+etbnY="
)


def settings(**more: Any) -> WeComSettings:
    given = {
        "corp_id": CORP,
        "agent_id": 1000002,
        "secret": "app-secret",
        "templates": {"discount": "T1", "other": "T2"},
    }
    return WeComSettings(**{**given, "callback_token": TOKEN, "callback_aes_key": KEY, **more})


def get(sealed: str, signature: str, at: int = AT) -> WebhookRequest:
    query = {"msg_signature": signature, "timestamp": str(at // 1000), "nonce": NONCE, "echostr": sealed}
    return WebhookRequest("GET", "/hooks/wecom", query, {}, b"", at)


def post(seal: Seal, message: str, at: int = AT, **changed: str) -> WebhookRequest:
    sealed = seal.encrypt(message)
    query = dict(parse_qsl(urlsplit(seal.address("http://hub.test/", sealed, at=at)).query))
    return WebhookRequest("POST", "/hooks/wecom", {**query, **changed}, {}, seal.envelope(sealed, "1000002"), at)


SEAL = Seal(TOKEN, KEY, CORP)


# ---- the published vectors -------------------------------------------------------------------------------------------


def test_address_verification_answers_the_plain_echo() -> None:
    signature = "5b6e7c0df9b2f7c6adb0338657f95c997c673b9a"
    received = receive(settings(), get(ECHO, signature))
    assert received.reply.body == b"5927782489442352469"
    assert received.events == []
    assert SEAL.encrypt("5927782489442352469", prefix=PREFIX) == ECHO
    assert SEAL.sign("1767225600", NONCE, ECHO) == signature


def test_an_event_is_opened_and_hints_at_its_approval() -> None:
    signature = "5aa54e8806f3f7dc2c1835bd695345cbc719d962"
    query = {"msg_signature": signature, "timestamp": "1767225600", "nonce": NONCE}
    body = SEAL.envelope(SEALED_EVENT, "1000002")
    received = receive(settings(), WebhookRequest("POST", "/hooks/wecom", query, {}, body, AT + 2000))
    # The vector names no template, so every one may be meant.
    assert received.events == [
        Event("approval:discount", "202601010001", "changed", AT),
        Event("approval:other", "202601010001", "changed", AT),
    ]
    assert (received.reply.status, received.reply.body) == (200, b"")
    assert Envelope(TOKEN, KEY, CORP).seal(EVENT.encode(), prefix=PREFIX) == SEALED_EVENT
    assert SEAL.encrypt(EVENT, prefix=PREFIX) == SEALED_EVENT


def test_a_passive_reply_is_sealed_and_signed() -> None:
    reply = Envelope(TOKEN, KEY, CORP).reply(REPLY, 1_767_225_601_000, nonce=NONCE, prefix=PREFIX)
    root = etree.fromstring(reply.body)
    assert root.findtext("Encrypt") == SEALED_REPLY
    assert root.findtext("MsgSignature") == "18bd358a08a5b77ebeb638735c36cff852662508"
    assert (root.findtext("TimeStamp"), root.findtext("Nonce")) == ("1767225601", NONCE)
    assert SEAL.decrypt(SEALED_REPLY) == REPLY


# ---- the envelope ----------------------------------------------------------------------------------------------------


def test_a_key_whose_last_letter_carries_two_bits_too_many_opens_all_the_same() -> None:
    sloppy = KEY[:-1] + "F"
    received = receive(settings(callback_aes_key=sloppy), post(SEAL, EVENT))
    assert received.events


@pytest.mark.parametrize("size", range(64))
def test_every_length_is_padded_to_blocks_of_thirty_two(size: int) -> None:
    ours = Envelope(TOKEN, KEY, CORP)
    message = "x" * size
    assert SEAL.decrypt(ours.seal(message.encode())) == message
    stamp = str(AT // 1000)
    sealed = SEAL.encrypt(message)
    query = {"timestamp": stamp, "nonce": "n", "msg_signature": SEAL.sign(stamp, "n", sealed)}
    assert ours.open(sealed, query, AT, 600.0) == message.encode()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"msg_signature": "0" * 40}, "signature"),
        ({"msg_signature": ""}, "signature"),
        ({"msg_signature": "é"}, "signature"),
        ({"nonce": "other"}, "signature"),
        ({"timestamp": "1767225601"}, "signature"),
    ],
)
def test_whatever_was_signed_can_not_be_changed(changed: dict[str, str], reason: str) -> None:
    with pytest.raises(WebhookRefused, match=reason) as caught:
        receive(settings(), post(SEAL, EVENT, **changed))
    assert caught.value.status == 401


@pytest.mark.parametrize("stamp", ["", "now", "-1", "1e9", "9" * 20, "１７６７２２５６００"])
def test_a_signed_time_that_is_none_is_refused(stamp: str) -> None:
    sealed = SEAL.encrypt(EVENT)
    query = {"timestamp": stamp, "nonce": "n", "msg_signature": SEAL.sign(stamp, "n", sealed)}
    request = WebhookRequest("POST", "/", query, {}, SEAL.envelope(sealed, ""), AT)
    with pytest.raises(WebhookRefused, match="timestamp"):
        receive(settings(), request)


def test_old_callbacks_are_refused_and_the_window_is_a_setting() -> None:
    request = post(SEAL, EVENT, AT)
    late = WebhookRequest(request.method, request.path, request.query, {}, request.body, AT + 601_000)
    with pytest.raises(WebhookRefused, match="601 s away"):
        receive(settings(), late)
    assert receive(settings(callback_window=700), late).events


def test_another_company_is_refused() -> None:
    with pytest.raises(WebhookRefused, match="another company") as caught:
        receive(settings(), post(Seal(TOKEN, KEY, "ww0000000000000000"), EVENT))
    assert caught.value.status == 403


def test_a_stranger_with_our_token_and_another_key_is_refused() -> None:
    with pytest.raises(WebhookRefused):
        receive(settings(), post(Seal(TOKEN, KEY[::-1][:42] + "E", CORP), EVENT))


@pytest.mark.parametrize("missing", ["callback_token", "callback_aes_key"])
def test_without_token_or_key_nothing_is_trusted(missing: str) -> None:
    with pytest.raises(WebhookRefused, match="no callback can be trusted"):
        receive(settings(**{missing: None}), post(SEAL, EVENT))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<xml>",
        b"<xml/>",
        b"<xml><Encrypt/></xml>",
        b"\xff\xfe\x00",
        b'<!DOCTYPE x [<!ENTITY a "b">]><xml><Encrypt>&a;</Encrypt></xml>',
        b'<!DOCTYPE x SYSTEM "http://evil.test/x.dtd"><xml/>',
    ],
)
def test_bodies_that_are_none_are_refused(body: bytes) -> None:
    request = post(SEAL, EVENT)
    with pytest.raises(WebhookRefused) as caught:
        receive(settings(), WebhookRequest("POST", "/", request.query, {}, body, AT))
    assert caught.value.status < 500


def test_entities_inside_a_sealed_message_are_not_followed() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><xml><Event>&b;</Event></xml>'
    with pytest.raises(WebhookRefused, match="document type"):
        receive(settings(), post(SEAL, bomb))


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    request = post(SEAL, EVENT)
    with pytest.raises(WebhookRefused, match="more than") as caught:
        receive(settings(), WebhookRequest("POST", "/", request.query, {}, b"x" * 1_000_001, AT))
    assert caught.value.status == 413


def test_the_same_event_sealed_again_is_known_and_another_of_that_second_is_not() -> None:
    first, again = receive(settings(), post(SEAL, EVENT)), receive(settings(), post(SEAL, EVENT, AT + 5000))
    other = receive(settings(), post(SEAL, EVENT.replace("202601010001", "202601010002")))
    assert first.dedupe == again.dedupe
    assert first.dedupe != other.dedupe


# ---- events ----------------------------------------------------------------------------------------------------------


def hints(event: str, inner: str, change: str = "") -> list[tuple[str, str, str]]:
    text = (
        f"<xml><CreateTime>1767225600</CreateTime><Event>{event}</Event><ChangeType>{change}</ChangeType>{inner}</xml>"
    )
    found = events_of(read_xml(text.encode()), {"discount": "T1", "other": "T2"})
    assert all(one.at == AT for one in found)
    return [(one.object, one.id, one.kind) for one in found]


@pytest.mark.parametrize(
    ("event", "change", "inner", "found"),
    [
        ("change_contact", "create_user", "<UserID>a</UserID>", [("member", "a", "created")]),
        ("change_contact", "update_user", "<UserID>a</UserID>", [("member", "a", "changed")]),
        (
            "change_contact",
            "update_user",
            "<UserID>a</UserID><NewUserID>b</NewUserID>",
            [("member", "a", "changed"), ("member", "b", "changed")],
        ),
        ("change_contact", "delete_user", "<UserID>a</UserID>", [("member", "a", "deleted")]),
        ("change_contact", "create_party", "<Id>2</Id>", [("department", "2", "created")]),
        ("change_contact", "delete_party", "<Id>2</Id>", [("department", "2", "deleted")]),
        ("change_contact", "update_tag", "<TagId>1</TagId>", []),
        (
            "change_external_contact",
            "add_external_contact",
            "<UserID>a</UserID><ExternalUserID>wm1</ExternalUserID>",
            [("external_contact", "wm1", "changed")],
        ),
        (
            "change_external_contact",
            "del_follow_user",
            "<UserID>a</UserID><ExternalUserID>wm1</ExternalUserID>",
            [("external_contact", "wm1", "changed")],
        ),
        ("change_external_contact", "transfer_fail", "<FailReason>customer_refused</FailReason>", []),
        ("change_external_chat", "create", "<ChatId>wr1</ChatId>", [("group_chat", "wr1", "changed")]),
        ("change_external_chat", "dismiss", "<ChatId>wr1</ChatId>", [("group_chat", "wr1", "deleted")]),
        ("change_external_tag", "create", "<Id>et1</Id><TagType>tag</TagType>", [("corp_tag", "et1", "changed")]),
        ("change_external_tag", "create", "<Id>et1</Id><TagType>tag_group</TagType>", []),
        (
            "sys_approval_change",
            "",
            "<ApprovalInfo><SpNo>1</SpNo><SpNoStr>0001</SpNoStr><TemplateId>T2</TemplateId></ApprovalInfo>",
            [("approval:other", "0001", "changed")],
        ),
        ("sys_approval_change", "", "<ApprovalInfo><SpNo>1</SpNo><TemplateId>T9</TemplateId></ApprovalInfo>", []),
        ("sys_approval_change", "", "", []),
        ("an_event_of_next_year", "", "<Id>1</Id>", []),
    ],
)
def test_each_event_hints_at_its_record(event: str, change: str, inner: str, found: list[Any]) -> None:
    assert hints(event, inner, change) == found


def test_a_pressed_button_changes_its_card_if_the_settings_have_words() -> None:
    message = (
        "<xml><FromUserName>lisi</FromUserName><CreateTime>1767225600</CreateTime><Event>template_card_event</Event>"
        "<CardType>button_interaction</CardType><EventKey>agree</EventKey></xml>"
    )
    assert receive(settings(), post(SEAL, message)).reply.body == b""
    reply = receive(settings(clicked_text="已处理 ]]> <ok>"), post(SEAL, message)).reply
    inner = etree.fromstring(SEAL.decrypt(etree.fromstring(reply.body).findtext("Encrypt")).encode())
    assert inner.findtext("ToUserName") == "lisi"
    assert inner.findtext("Button/ReplaceName") == "已处理 ]]> <ok>"


async def test_a_callback_goes_over_the_wire_as_the_connector_reads_it(simulator: WeComSimulator) -> None:
    body = simulator.callback_content(
        simulator.event("change_contact", {"UserID": "a"}, change="delete_user").encode(), 0
    )
    address = simulator.callback_address("http://hub.test/hooks/wecom?tenant=1", body)
    query = dict(parse_qsl(urlsplit(address).query))
    request = WebhookRequest("POST", "/hooks/wecom", query, {}, body, simulator.clock.now())
    assert [(one.object, one.id) for one in receive(settings(), request).events] == [("member", "a")]
