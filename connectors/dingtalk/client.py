"""DingTalk's protocol: two generations of an API behind one token, what each answers, limits and the month's quota."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.codes import ErrorTable, Retry, Verdict
from hub.connector.http import BadAnswer, Http, Response, repeat
from hub.connector.kit import Kit
from hub.connector.limits import Limit
from hub.connector.tokens import Token
from hub.domain.clock import iso
from hub.domain.errors import CredentialsRefused, QuotaSpent, VendorError
from hub.domain.outcome import Outcome, OutcomeKind

_EARLY = 600.0
_ZONE = ZoneInfo("Asia/Shanghai")
_HEADER = "x-acs-dingtalk-access-token"
_PUNISHED = "1111"
_QUOTA = "the organisation's calls of the month"
_MONTH = 31 * 86_400.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A good answer: its JSON, and the hub's clock around the call."""

    body: dict[str, Any]
    asked: int
    answered: int

    @property
    def result(self) -> Any:
        return self.body.get("result")


class Refusal(Exception):
    """The platform answered no. `verdict` says what that means; `message` has its words, its code and where."""

    def __init__(self, code: str, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.verdict = verdict

    @property
    def refuses_us(self) -> bool:
        """The no is to the app as such, not to this record."""
        return self.verdict.kind is OutcomeKind.NOT_EXECUTED and self.verdict.retry is Retry.NEVER

    def outcome(self) -> Outcome:
        return self.verdict.outcome(self.message, code=self.code)


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `op` names its interface for the limits; `free` ones do not count against the month."""

    op: str
    method: str
    path: str
    json: Any = None
    params: Mapping[str, str] | None = None
    free: bool = False
    new: bool = True

    @property
    def group(self) -> str:
        return f"{'free' if self.free else 'metered'}:{self.op}"


def old(op: str, path: str, body: Any, *, free: bool = False) -> Call:
    """A call of the old generation."""
    return Call(op, "POST", path, body, free=free, new=False)


class DingTalkClient:
    """One app in one organisation. `read` repeats what may be repeated; `write` sends once."""

    def __init__(self, settings: DingTalkSettings, kit: Kit) -> None:
        secrets = [settings.client_secret.get_secret_value()]
        secrets += [key.get_secret_value() for key in (settings.callback_token, settings.callback_aes_key) if key]
        for robot in settings.robots.values():
            secrets += [key.get_secret_value() for key in (robot.token, robot.secret) if key]
        self._settings = settings
        self._kit = kit
        pool = {"timeout": settings.timeout, "connections": settings.concurrency + 4}
        self._new = kit.http(settings.base_url, secrets=secrets, **pool)  # type: ignore[arg-type]
        self._old = kit.http(settings.old_base_url, secrets=secrets, **pool)  # type: ignore[arg-type]
        self._tokens = kit.token_source(f"{settings.corp_id}:{settings.client_id}", self._log_in, early=_EARLY)
        self._errors = ErrorTable.load(Path(__file__).with_name("errors.yaml"), settings.errors, kit.logger)
        self.few = asyncio.Semaphore(settings.concurrency)
        kit.budgets.declare(
            [
                Limit("*:*", settings.second_calls, 1.0, "calls of one interface in a second", each=True),
                Limit("metered:*", settings.month_calls, _MONTH, _QUOTA, reset_zone=_ZONE.key, month=True),
            ]
        )

    @property
    def http(self) -> Http:
        """The client of the new API, for what goes to addresses that it named."""
        return self._new

    def hide(self, secret: str) -> None:
        """Learn a secret that came later."""
        self._new.hide(secret)
        self._old.hide(secret)

    async def read(self, call: Call) -> Answered:
        """A call that changes nothing, repeated while that helps.

        Raises CredentialsRefused (also for missing rights), QuotaSpent, VendorError, TransportFailure.
        """
        try:
            return await self.ask(call)
        except Refusal as refusal:
            hint = refusal.verdict.hint
            if refusal.refuses_us:
                raise CredentialsRefused(refusal.message, hint=hint) from None
            raise VendorError(refusal.message, code=refusal.code, retryable=False, hint=hint) from None

    async def ask(self, call: Call) -> Answered:
        """Like `read`, but a definite no comes as the Refusal that it is."""

        async def once() -> Answered:
            try:
                return await self._call(call, self._settings.timeout)
            except Refusal as refusal:
                raise self._passing(refusal) from None

        async with self.few:
            return await repeat(once, sleep=self._kit.sleep)

    async def write(self, call: Call, timeout: float) -> Answered:
        """A call that changes something: sent once, again only with a new token after the old one was refused.

        Raises Refusal, TransportFailure, BadAnswer, QuotaSpent (nothing left), CredentialsRefused (nothing left).
        """
        async with self.few:
            return await self._call(call, timeout)

    async def write_without_token(self, call: Call, timeout: float) -> Answered:
        """A call that carries its own key in its address (robots). Raises as `write`."""
        async with self.few:
            await self._kit.budgets.take(call.group)
            return await self._exchange(call, {}, dict(call.params or {}), timeout)

    async def ask_without_token(self, call: Call) -> Answered:
        """A read-like call that carries its credentials in its body. Raises Refusal, VendorError, TransportFailure."""
        return await self._exchange(call, {}, dict(call.params or {}), self._settings.timeout)

    async def prove(self) -> None:
        """Log in, unless somebody has: the address names the organisation, so a token proves app and organisation."""
        await self._tokens.token()

    def month_ends(self) -> int:
        """When the month's quota starts anew, in epoch milliseconds."""
        today = datetime.fromtimestamp(self._kit.clock.now() / 1000, UTC).astimezone(_ZONE)
        following = (today.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(
            day=1
        )
        return int(following.timestamp() * 1000)

    async def aclose(self) -> None:
        await self._new.aclose()
        await self._old.aclose()

    # --- one call -----------------------------------------------------------------------------------------------

    async def _call(self, call: Call, timeout: float) -> Answered:
        token = await self._tokens.token()
        try:
            return await self._attempt(call, token, timeout)
        except Refusal as refusal:
            if refusal.verdict.retry is Retry.DAY:
                raise self._passing(refusal) from None
            if refusal.verdict.retry is not Retry.TOKEN:
                raise
        # Refused at the gate, so nothing was done: the same call may go again, with a new token.
        await self._tokens.invalidate(token)
        return await self._attempt(call, await self._tokens.token(), timeout)

    async def _attempt(self, call: Call, token: Token, timeout: float) -> Answered:
        await self._kit.budgets.take(call.group)
        params = dict(call.params or {})
        if call.new:
            return await self._exchange(call, {_HEADER: token.value}, params, timeout)
        return await self._exchange(call, {}, {**params, "access_token": token.value}, timeout)

    async def _exchange(
        self, call: Call, headers: Mapping[str, str], params: dict[str, str], timeout: float
    ) -> Answered:
        http = self._new if call.new else self._old
        response = await http.send(
            call.method, call.path, json=call.json, params=params or None, headers=headers, timeout=timeout
        )
        body = self._body(response)
        code, words = _refused(body, response.status, new=call.new)
        if code is None:
            return Answered(body, response.asked, response.answered)
        request = body.get("request_id") or body.get("requestid")
        message = f"{call.path}: {http.redact(words)} (code {code}{f', request {request}' if request else ''})"
        refusal = Refusal(code, message, self._errors.judge(code, words))
        if refusal.verdict.retry is Retry.WAIT and refusal.verdict.kind is OutcomeKind.NOT_EXECUTED:
            await self._kit.budgets.penalise(call.group, refusal.verdict.wait or 1.0)
        raise refusal

    def _body(self, response: Response) -> dict[str, Any]:
        body = response.json()
        if not isinstance(body, dict):
            raise BadAnswer(f"{response.where} answered {response.status} with no JSON object: {response.excerpt()}")
        return body

    def _passing(self, refusal: Refusal) -> Exception:
        """What a refused read raises inside its repetitions: an error that passes, or the Refusal."""
        verdict = refusal.verdict
        if verdict.retry is Retry.DAY:
            ends = self.month_ends()
            text = f"{refusal.message}; resumes at {iso(ends)}"
            return QuotaSpent(text, resumes_at=ends, limit=_QUOTA)
        if verdict.retry is not Retry.NEVER or verdict.kind is OutcomeKind.UNKNOWN:
            return verdict.error(refusal.message, code=refusal.code)
        return refusal

    # --- log-in -------------------------------------------------------------------------------------------------

    async def _log_in(self) -> Token:
        """By the address that names the organisation. Repeating it gives the same token: processes don't disturb each
        other."""
        body = {
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret.get_secret_value(),
            "grant_type": "client_credentials",
        }
        call = Call("login", "POST", f"/v1.0/oauth2/{self._settings.corp_id}/token", body, free=True)

        async def once() -> Answered:
            await self._kit.budgets.take(call.group)
            try:
                return await self._exchange(call, {}, {}, self._settings.timeout)
            except Refusal as refusal:
                if refusal.code == "unknownError":
                    hint = "if it stays so, correct corp_id: an organisation that is not known is answered like this"
                    raise VendorError(refusal.message, code=refusal.code, retryable=False, hint=hint) from None
                if refusal.verdict.retry is Retry.WAIT:
                    raise refusal.verdict.error(refusal.message, code=refusal.code) from None
                hint = "check corp_id, client_id and client_secret, and the app's IP list"
                raise CredentialsRefused(refusal.message, hint=hint) from None

        answered = await repeat(once, sleep=self._kit.sleep)
        try:
            value, seconds = str(answered.body["access_token"]), int(answered.body["expires_in"])
        except (KeyError, ValueError) as error:
            raise BadAnswer("the log-in was answered without a token") from error
        self.hide(value)
        return Token(value, answered.answered + seconds * 1000)


def _refused(body: Mapping[str, Any], status: int, *, new: bool) -> tuple[str | None, str]:
    """The code and the words of a refusal in either generation's form; no code if it is none."""
    if body.get("status") == 1111 and "punish" in body:
        return _PUNISHED, "calls from this address are blocked for a while"
    errcode = body.get("errcode")
    if errcode not in (None, 0, "0"):
        if str(errcode) == "88" and body.get("sub_code"):
            return str(body["sub_code"]), str(body.get("sub_msg") or body.get("errmsg"))
        return str(errcode), str(body.get("errmsg"))
    if new and (status >= 400 or ("code" in body and "message" in body)):
        detail = body.get("accessdenieddetail") or {}
        scopes = detail.get("requiredScopes") if isinstance(detail, dict) else None
        words = str(body.get("message") or "no words")
        return str(body.get("code") or status), f"{words}; it needs {', '.join(scopes)}" if scopes else words
    if status >= 400:
        return str(status), "no words"
    # An old answer without an errcode is no answer of this platform.
    if not new and errcode is None:
        raise BadAnswer("the answer has no errcode", hint="check old_base_url; something else answers there")
    return None, ""
