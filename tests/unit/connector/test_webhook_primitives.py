from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.connector.contract import WebhookRefused
from hub.connector.webhook import (
    aes_decrypt,
    aes_encrypt,
    aes_key,
    hmac_sha256,
    read_json,
    require_recent,
    same,
    sha1_hex,
    sha256_hex,
    sorted_sha1,
)

# The worked vector of the Fxiaoke callbacks (vendor's algorithm, made-up data).
KEY_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PLAIN = (
    '{"tenantId":100001,"eventType":"update","apiName":"AccountObj","dataId":"65aa17a9f318b90001726517",'
    '"timestamp":1700000000000,"messageId":"MSG-0001"}'
)
SEALED = (
    "qW8wOpzMweFHsT8YFvuGq3w8XLIDVhCluwRP8EzbAdnAz0qCth4kLM+LsddVEHErq3aQWEO+sgJG8eqMjVBbSDCOfcMXAENVdPX/7wUrV6RSqlVi"
    "Gw+C08MZnnCbmW3g2N5T0KSN/zFIuv8pJu3JnviXEw9mtmYcaFkvpxR44qqspFgvfKO63yuoPagZnAcjDzgvt/oEQoM8L+ZKJwun4A=="
)
KEY = aes_key(KEY_TEXT)


def test_the_worked_vector() -> None:
    assert aes_decrypt(KEY, SEALED).decode() == PLAIN
    assert aes_encrypt(KEY, PLAIN.encode()) == SEALED
    signed = sha1_hex("1700000001000", "nonce0123456789a", "MSG-0001", "demoea", SEALED, KEY_TEXT)
    assert signed == "9015101c9c0f3ef0792c0fb0f04769194449da07"
    assert aes_encrypt(KEY, b"success") == "ArsKAyhvk7QKghXe0zdCeQ=="


def test_the_worked_vector_of_the_older_callbacks() -> None:
    content = (
        "4j/AuRx71kQlxVlzbpsMWP96JZ1IHCmKfyeTyVpRFWJ6KrzLvIz8CsH7DXoj0m3V/cE8/HBarhYDzTJBjU95GXDob0159A7s1JKAnrLZ08cb5h"
        "ik8LfTbrhI0WQaXmF5QBNilojLyVhKdjReEQ3JVQ=="
    )
    assert sorted_sha1(["tokendemo", "1700000001000", "n-1", content]) == "4d6d911252a0f1190024587f73048640ec68ef6c"
    plain = aes_decrypt(aes_key(KEY_TEXT.rstrip("=")), content)
    length = int.from_bytes(plain[16:20], "big")
    assert json.loads(plain[20 : 20 + length]) == {"type": "PermanentCode", "content": "PCODE-1"}


def test_hashes() -> None:
    assert sha256_hex("a", "bc") == sha256_hex("abc")
    # RFC 4231, case 2
    wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256("Jefe", "what do ya want for nothing?").hex() == wanted
    assert same("ä", "ä".encode())
    assert not same("a", "ab")


@given(st.binary(max_size=500), st.binary(min_size=32, max_size=32), st.sampled_from([16, 32]))
def test_what_was_sealed_is_opened(plain: bytes, key: bytes, block: int) -> None:
    assert aes_decrypt(key, aes_encrypt(key, plain, block=block), block=block) == plain
    iv = key[::-1][:16]
    assert aes_decrypt(key, aes_encrypt(key, plain, iv=iv), iv=iv) == plain


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()))
def test_whatever_comes_is_opened_or_refused(content: str) -> None:
    with contextlib.suppress(WebhookRefused):
        assert isinstance(aes_decrypt(KEY, content), bytes)


@pytest.mark.parametrize("text", ["short", "ä" * 43, base64.b64encode(b"x" * 31).decode(), ""])
def test_a_wrong_key_is_told_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        aes_key(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(("away", "refused"), [(0, False), (299_000, False), (-299_000, False), (301_000, True)])
def test_a_time_window_has_two_sides(away: int, refused: bool) -> None:
    now = 1_700_000_000_000
    if refused:
        for sent in (now - away, now + away):
            with pytest.raises(WebhookRefused, match="301 s"):
                require_recent(sent, now)
    else:
        require_recent(now + away, now)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400),
        (b'{"a": "' + b"x" * 1_000_000 + b'"}', 413),
    ],
)
def test_a_body_has_bounds(body: bytes, status: int) -> None:
    with pytest.raises(WebhookRefused) as caught:
        read_json(body)
    assert caught.value.status == status


def test_a_body_is_read_exactly() -> None:
    assert read_json(b'{"amount": 12.50, "deep": {"a": [{"b": 1}]}}') == {"amount": "12.50", "deep": {"a": [{"b": 1}]}}
