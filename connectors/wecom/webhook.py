"""Callbacks from WeCom: address verification, sealed events, sealed passive replies (the vendor's page 90930)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import struct
from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree  # type: ignore[import-untyped]

from connectors.wecom.settings import WeComSettings
from hub.connector.contract import Event, Received, Reply, WebhookRefused, WebhookRequest
from hub.connector.webhook import aes_decrypt, aes_encrypt, require_recent, same, sorted_sha1

_BLOCK = 32
_MOST_BYTES = 1_000_000
_EMPTY = Reply(200, b"")
_CONTACT = {"create_user": "created", "update_user": "changed", "delete_user": "deleted"}
_PARTY = {"create_party": "created", "update_party": "changed", "delete_party": "deleted"}
_INTERACTIVE = frozenset({"button_interaction", "vote_interaction", "multiple_interaction"})


class Envelope:
    """Token, key and receive id of one callback address."""

    def __init__(self, token: str, key_text: str, receive_id: str) -> None:
        self._token = token
        # 43 letters hold two bits more than the key has; what the platform's own tools ignore is ignored here as well.
        self._key = base64.b64decode(key_text + "=")
        self._receive_id = receive_id.encode()

    def open(self, sealed: str, query: Mapping[str, str], received: int, window: float) -> bytes:
        """The message inside, once signature, time and receiver have proved right. Raises WebhookRefused."""
        stamp, nonce, signature = (query.get(name, "") for name in ("timestamp", "nonce", "msg_signature"))
        if not sealed or not same(signature.encode("utf-8", "replace"), self.signature(stamp, nonce, sealed).encode()):
            raise WebhookRefused("its signature is not made with our token")
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
            raise WebhookRefused("its timestamp is no time", status=400)
        require_recent(int(stamp) * 1000, received, window=window)
        plain = aes_decrypt(self._key, sealed, block=_BLOCK)
        if len(plain) < 20:
            raise WebhookRefused("the content is too short to hold a message", status=400)
        (length,) = struct.unpack(">I", plain[16:20])
        message, receiver = plain[20 : 20 + length], plain[20 + length :]
        if len(message) != length or not same(receiver, self._receive_id):
            raise WebhookRefused("it is for another company", status=403)
        return message

    def seal(self, message: bytes, *, prefix: bytes | None = None) -> str:
        """A message as the platform opens it; `prefix` are the sixteen random bytes."""
        plain = (prefix or secrets.token_bytes(16)) + struct.pack(">I", len(message)) + message + self._receive_id
        return aes_encrypt(self._key, plain, block=_BLOCK)

    def signature(self, stamp: str, nonce: str, sealed: str) -> str:
        return sorted_sha1([self._token, stamp, nonce, sealed])

    def reply(self, message: str, now: int, *, nonce: str | None = None, prefix: bytes | None = None) -> Reply:
        """A passive reply around this XML; `now` is epoch milliseconds."""
        sealed = self.seal(message.encode(), prefix=prefix)
        stamp, nonce = str(now // 1000), nonce or str(secrets.randbelow(10**10))
        body = (
            f"<xml>{_cdata('Encrypt', sealed)}{_cdata('MsgSignature', self.signature(stamp, nonce, sealed))}"
            f"<TimeStamp>{stamp}</TimeStamp>{_cdata('Nonce', nonce)}</xml>"
        )
        return Reply(200, body.encode(), "application/xml; charset=utf-8")


def receive(settings: WeComSettings, request: WebhookRequest) -> Received:
    """The address verification (GET) or an event (POST). Raises WebhookRefused."""
    if settings.callback_token is None or settings.callback_aes_key is None:
        raise WebhookRefused(
            "no callback_token and callback_aes_key are set, so no callback can be trusted", status=403
        )
    envelope = Envelope(
        settings.callback_token.get_secret_value(), settings.callback_aes_key.get_secret_value(), settings.corp_id
    )
    try:
        return _received(settings, envelope, request)
    except UnicodeError as error:
        raise WebhookRefused("a part of the callback is no text", status=400) from error


def _received(settings: WeComSettings, envelope: Envelope, request: WebhookRequest) -> Received:
    window = settings.callback_window
    if request.method == "GET":
        echo = envelope.open(request.query.get("echostr", ""), request.query, request.received, window)
        return Received([], Reply(200, echo), f"echo:{request.query['msg_signature']}")
    if len(request.body) > _MOST_BYTES:
        raise WebhookRefused(f"the body has more than {_MOST_BYTES} bytes", status=413)
    sealed = _text(read_xml(request.body), "Encrypt")
    message = envelope.open(sealed, request.query, request.received, window)
    event = read_xml(message)
    return Received(
        events_of(event, settings.templates),
        _reply_to(event, settings, envelope, request.received),
        # The platform's own advice, sender and second, throws different events together: the whole message is the key.
        f"event:{hashlib.sha256(message).hexdigest()}",
    )


def events_of(event: Any, templates: Mapping[str, str]) -> list[Event]:
    """What an event hints at; one that the hub has no object for hints at nothing."""
    name, change = _text(event, "Event"), _text(event, "ChangeType")
    seconds = _text(event, "CreateTime")
    at = int(seconds) * 1000 if seconds.isascii() and seconds.isdigit() and len(seconds) <= 12 else None

    def hints(object: str, ids: Iterable[str], kind: str) -> list[Event]:
        return [Event(object, id, kind, at) for id in ids if id]

    match name:
        case "change_contact" if change in _CONTACT:
            # A new userid is a new member to everybody who keeps ids, and the old one is gone.
            return hints("member", [_text(event, "UserID"), _text(event, "NewUserID")], _CONTACT[change])
        case "change_contact" if change in _PARTY:
            return hints("department", [_text(event, "Id")], _PARTY[change])
        case "change_external_contact":
            return hints("external_contact", [_text(event, "ExternalUserID")], "changed")
        case "change_external_chat":
            return hints("group_chat", [_text(event, "ChatId")], "deleted" if change == "dismiss" else "changed")
        case "change_external_tag" if _text(event, "TagType") != "tag_group":
            return hints("corp_tag", [_text(event, "Id")], "deleted" if change == "delete" else "changed")
        case "sys_approval_change":
            info = event.find("ApprovalInfo")
            template = _text(info, "TemplateId")
            number = _text(info, "SpNoStr") or _text(info, "SpNo")
            aliases = [alias for alias, id in templates.items() if not template or id == template]
            return [hint for alias in aliases for hint in hints(f"approval:{alias}", [number], "changed")]
        case _:
            return []


def _reply_to(event: Any, settings: WeComSettings, envelope: Envelope, now: int) -> Reply:
    """Nothing, but for a pressed button: its card says so at once, if the settings have words for it."""
    pressed = _text(event, "Event") == "template_card_event" and _text(event, "CardType") in _INTERACTIVE
    if settings.clicked_text is None or not pressed:
        return _EMPTY
    who, corp = _cdata("ToUserName", _text(event, "FromUserName")), _cdata("FromUserName", settings.corp_id)
    kind = f"<CreateTime>{now // 1000}</CreateTime>{_cdata('MsgType', 'update_button')}"
    words = _cdata("ReplaceName", settings.clicked_text)
    return envelope.reply(f"<xml>{who}{corp}{kind}<Button>{words}</Button></xml>", now)


def read_xml(body: bytes) -> Any:
    """The root element of an XML body, with no door open for entities or the network. Raises WebhookRefused."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise WebhookRefused("the body is not XML", status=400) from error
    if root.getroottree().docinfo.doctype:
        raise WebhookRefused("the body declares a document type", status=400)
    return root


def _text(element: Any, name: str) -> str:
    """The text of a child element, '' if there is none."""
    found = element.find(name) if element is not None else None
    return (found.text or "").strip() if found is not None else ""


def _cdata(name: str, value: str) -> str:
    return f"<{name}>{escape(value)}</{name}>" if "]]>" in value else f"<{name}><![CDATA[{value}]]></{name}>"
