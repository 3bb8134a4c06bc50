"""What the WebAPI answered: its status wherever it hides, lost sessions, and what was done to which record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.connector.http import BadAnswer, Response
from hub.domain.errors import CredentialsRefused

_LOST_WORDS = ("会话信息已丢失", "会话已过期", "未登录", "ctx == null")
_EXCEPTION = "response_error:"
_UNKNOWN_CENTRE = "Fail to verify thirty passport"  # sic
_SHOWN = 300

# Codes that refuse a whole call, whatever index its message carries: nothing of it was executed.
CALL_LEVEL = frozenset({"1", "2", "3", "5", "7", "8", "9", "14", "15"})


class SessionLost(Exception):
    """The server does not know the session (any more). Nothing was executed."""


class NoSuchService(Exception):
    """This build has no service of that name."""


@dataclass(frozen=True, slots=True)
class Refusal:
    message: str
    field: str | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    id: str
    number: str | None
    index: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A status: what was done and what was refused, both by the index in the list that was sent."""

    ok: bool
    code: str | None
    done: Sequence[Done] = ()
    refusals: Sequence[Refusal] = ()
    returned: Sequence[dict[str, Any]] = field(default_factory=tuple)

    @property
    def message(self) -> str:
        return "; ".join(refusal.message for refusal in self.refusals) or f"MsgCode {self.code} without a message"


def read(response: Response) -> Any:
    """The JSON of an answer with status 200 or 206.

    Raises SessionLost, NoSuchService, CredentialsRefused, and BadAnswer for an exception of the server or the page of a
    proxy: for a write that means unknown.
    """
    text = response.text().lstrip("\ufeff \r\n") if response.body[:1] not in (b"[", b"{") else ""
    # A page with another status may come from a proxy, after the call was done: that is no definite refusal.
    if response.status == 401 or (response.status == 200 and _is_page(text) and _asks_to_log_in(text)):
        raise SessionLost
    if text and any(word in text for word in _LOST_WORDS):
        raise SessionLost
    if _UNKNOWN_CENTRE in text:
        raise CredentialsRefused(
            "Kingdee does not know this data centre or application",
            hint="compare acct_id and app_id with 公共设置 > WebAPI and 第三方系统登录授权 in Kingdee",
        )
    if "service no found" in text[:_SHOWN].lower():
        raise NoSuchService
    if text.startswith(_EXCEPTION):
        raise BadAnswer(f"{response.where}: the server failed: {_exception(response, text)}", code="response_error")
    if response.status not in (200, 206):
        raise BadAnswer(
            f"{response.where} answered {response.status}: {response.excerpt()}",
            code=str(response.status),
            retry_after=response.retry_after,
        )
    return response.json()


def status_of(body: Any) -> Answer | None:
    """The status of an answer, or None if it is data.

    A query's errors come with status 200 where rows would stand: `[[{"Result": ...}]]`, `[{"Result": ...}]`,
    `{"Result": ...}`, or a bare `[{"FieldName": ..., "Message": ..., "DIndex": ...}]`.
    """
    at = body
    while isinstance(at, list) and at:
        at = at[0]
    if not isinstance(at, dict):
        return None
    if isinstance(at.get("Result"), dict):
        result = at["Result"]
        status = result.get("ResponseStatus")
        return _answer(status, result) if isinstance(status, dict) else Answer(True, _code(result.get("MsgCode")))
    if "Message" in at and "DIndex" in at:
        lost = any(word in str(at["Message"]) for word in _LOST_WORDS)
        return Answer(False, "1" if lost else None, refusals=[_refusal(at)])
    return None


def is_lost(answer: Answer) -> bool:
    """Whether a failed call failed for its session alone (matched only when it failed)."""
    if answer.ok or answer.done:
        return False
    return answer.code == "1" or any(word in refusal.message for refusal in answer.refusals for word in _LOST_WORDS)


def _answer(status: dict[str, Any], result: dict[str, Any]) -> Answer:
    done = [
        Done(str(each.get("Id")), _text(each.get("Number")), int(each.get("DIndex") or 0))
        for each in status.get("SuccessEntitys") or ()
    ]
    returned = result.get("NeedReturnData")
    return Answer(
        ok=str(status.get("IsSuccess")).lower() == "true",
        code=_code(status.get("MsgCode", result.get("MsgCode"))),
        done=done,
        refusals=[_refusal(each) for each in status.get("Errors") or ()],
        returned=[each for each in returned if isinstance(each, dict)] if isinstance(returned, list) else (),
    )


def _refusal(each: dict[str, Any]) -> Refusal:
    return Refusal(str(each.get("Message") or ""), _text(each.get("FieldName")), int(each.get("DIndex") or 0))


def _code(code: Any) -> str | None:
    return None if code is None else str(code)


def _text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None


def _is_page(text: str) -> bool:
    head = text[:500].lower()
    return "<html" in head or "<!doctype" in head


def _asks_to_log_in(text: str) -> bool:
    lowered = text.lower()
    return "login" in lowered or "登录" in lowered


def _exception(response: Response, text: str) -> str:
    rest = text[len(_EXCEPTION) :].strip()
    try:
        found = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return response.redact(rest[:_SHOWN])
    message = found.get("Message") if isinstance(found, dict) else None
    return response.redact(str(message or rest)[:_SHOWN])
