"""Fxiaoke's protocol: both ways to authenticate, the envelope around every answer, limits and quota."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connectors.crm.fxiaoke.settings import FxiaokeSettings
from hub.connector.codes import ErrorTable, Retry, Verdict
from hub.connector.http import BadAnswer, Response, repeat
from hub.connector.kit import Kit
from hub.connector.limits import Limit
from hub.connector.tokens import Token
from hub.domain.clock import iso
from hub.domain.errors import CredentialsRefused, QuotaSpent, VendorError
from hub.domain.outcome import OutcomeKind

Body = dict[str, Any]

# The gateway gives one token for 6600 s, then a new one beside the old; renewing 500 s before the end meets that gap.
_EARLY = 500.0
# The gateway counts a call when it arrives, we when it leaves; without a margin a slow first call would make the
# hundred and first one too many.
_JITTER = 1.0
_LOGIN_GROUP = "login"


@dataclass(frozen=True, slots=True)
class Answered:
    """A successful answer: the envelope's members, and the hub's clock around the call."""

    body: Body
    asked: int
    answered: int

    @property
    def data(self) -> Any:
        return self.body.get("data")


class Refusal(Exception):
    """The gateway answered with an error code. `verdict` says what it means."""

    def __init__(self, path: str, code: str, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.path = path
        self.code = code
        self.message = message
        self.verdict = verdict

    @property
    def refuses_us(self) -> bool:
        """The system said no to the hub as such, not to this record."""
        return self.verdict.kind is OutcomeKind.NOT_EXECUTED and self.verdict.retry is Retry.NEVER


class FxiaokeClient:
    """One app in one enterprise. `read` repeats what may be repeated; `write` sends once."""

    def __init__(self, settings: FxiaokeSettings, kit: Kit) -> None:
        secrets = [settings.app_secret.get_secret_value(), settings.permanent_code.get_secret_value()]
        secrets += [
            key.get_secret_value() for key in (settings.aes_key, settings.app_token, settings.app_aes_key) if key
        ]
        self._settings = settings
        self._kit = kit
        self._http = kit.http(
            settings.base_url, secrets=secrets, timeout=settings.timeout, connections=settings.concurrency + 4
        )
        self._tokens = kit.token_source(f"{settings.auth}:{settings.app_id}", self._log_in, early=_EARLY)
        self._errors = ErrorTable.load(Path(__file__).with_name("errors.yaml"), settings.errors, kit.logger)
        day = "the day's call quota of the tenant"
        kit.budgets.declare(
            [
                Limit(
                    "/cgi/*", settings.path_calls, settings.path_seconds + _JITTER, "calls of one interface", each=True
                ),
                Limit("/cgi/*", settings.day_calls, 86_400, day, reset_zone="Asia/Shanghai"),
                Limit(_LOGIN_GROUP, 10, 60, "log-ins"),
            ],
            account=settings.app_id,
        )

    async def read(self, path: str, body: Body) -> Answered:
        """A call that changes nothing, repeated while that helps.

        Raises CredentialsRefused (also for missing rights), QuotaSpent, VendorError, TransportFailure.
        """
        try:
            return await self.ask(path, body)
        except Refusal as refusal:
            hint = refusal.verdict.hint
            if refusal.refuses_us:
                raise CredentialsRefused(refusal.message, hint=hint) from None
            raise VendorError(refusal.message, code=refusal.code, retryable=False, hint=hint) from None

    async def ask(self, path: str, body: Body) -> Answered:
        """Like `read`, but a definite no of the system comes as the Refusal that it is."""

        async def once() -> Answered:
            try:
                return await self._call(path, body, self._settings.timeout)
            except Refusal as refusal:
                raise self._read_error(refusal) from None

        return await repeat(once, sleep=self._kit.sleep)

    async def write(self, path: str, body: Body, timeout: float) -> Answered:
        """A call that changes something: sent once, again only with a new token after the gateway refused the old one.

        Raises Refusal, TransportFailure, BadAnswer, QuotaSpent (nothing left), CredentialsRefused (nothing left).
        """
        return await self._call(path, body, timeout)

    async def enterprise(self) -> str:
        """The enterprise's own id (FSCID_...), the same for both styles."""
        return (await self._tokens.token()).extra["enterprise"]

    def midnight(self) -> int:
        """When the day's quota starts anew, in epoch milliseconds."""
        zone = ZoneInfo("Asia/Shanghai")
        today = datetime.fromtimestamp(self._kit.clock.now() / 1000, UTC).astimezone(zone).date()
        return int(datetime.combine(today + timedelta(days=1), time(), zone).timestamp() * 1000)

    async def aclose(self) -> None:
        await self._http.aclose()

    # --- one call -----------------------------------------------------------------------------------------------

    async def _call(self, path: str, body: Body, timeout: float) -> Answered:
        token = await self._tokens.token()
        try:
            return await self._attempt(path, body, token, timeout)
        except Refusal as refusal:
            if refusal.verdict.retry is not Retry.TOKEN:
                raise
        # Refused at the gate, so nothing was done: the same call may go again, with a new token.
        await self._tokens.invalidate(token)
        return await self._attempt(path, body, await self._tokens.token(), timeout)

    async def _attempt(self, path: str, body: Body, token: Token, timeout: float) -> Answered:
        await self._kit.budgets.take(path)
        if self._settings.auth == "header":
            headers = {
                "authorization": f"Bearer {token.value}",
                "x-fs-ea": token.extra["ea"],
                "x-fs-userid": self._settings.user_id,
            }
            return await self._exchange(path, body, headers, timeout)
        legacy: Body = {
            "corpAccessToken": token.value,
            "corpId": token.extra["enterprise"],
            "currentOpenUserId": token.extra["user"],
            "convertUserId": False,
        }
        return await self._exchange(path, {**legacy, **body}, {}, timeout)

    async def _exchange(self, path: str, body: Body, headers: Mapping[str, str], timeout: float) -> Answered:
        response = await self._http.send(
            "POST", path, json=body, params={"thirdTraceId": str(uuid.uuid4())}, headers=headers, timeout=timeout
        )
        answer = self._envelope(response)
        code = str(answer["errorCode"])
        if code == "0":
            return Answered(answer, response.asked, response.answered)
        words = (answer.get("errorMessage"), answer.get("errorDescription"))
        text = " / ".join(dict.fromkeys(str(word) for word in words if word)) or "no words"
        message = f"{path}: {self._http.redact(text)} (errorCode {code}, traceId {answer.get('traceId')})"
        refusal = Refusal(path, code, message, self._errors.judge(code, text))
        if refusal.verdict.retry is Retry.WAIT and refusal.verdict.kind is OutcomeKind.NOT_EXECUTED:
            await self._kit.budgets.penalise(path, refusal.verdict.wait or 1.0)
        if refusal.verdict.retry is Retry.DAY:
            await self._kit.budgets.spent(path)
        raise refusal

    def _envelope(self, response: Response) -> Body:
        if 300 <= response.status < 400:
            raise BadAnswer(
                f"{response.where} answered {response.status}, a redirect to a page instead of data",
                retryable=False,
                hint="base_url is not the open platform: it is https://open-<login domain>",
            )
        answer = response.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("errorCode"), int):
            raise BadAnswer(f"{response.where} answered {response.status} without an errorCode: {response.excerpt()}")
        return answer

    def _read_error(self, refusal: Refusal) -> Exception:
        verdict = refusal.verdict
        if verdict.retry is Retry.DAY:
            resumes = self.midnight()
            return QuotaSpent(
                f"{refusal.message}; resumes at {iso(resumes)}", resumes_at=resumes, limit="the day's call quota"
            )
        if verdict.retry is not Retry.NEVER or verdict.kind is OutcomeKind.UNKNOWN:
            return verdict.error(refusal.message, code=refusal.code)
        return refusal

    # --- log-in -------------------------------------------------------------------------------------------------

    async def _log_in(self) -> Token:
        await self._kit.budgets.take(_LOGIN_GROUP)
        credentials: Body = {
            "appId": self._settings.app_id,
            "appSecret": self._settings.app_secret.get_secret_value(),
            "permanentCode": self._settings.permanent_code.get_secret_value(),
        }
        if self._settings.auth == "header":
            answer = await self._log_in_call("/oauth2.0/token", {**credentials, "grantType": "app_secret"})
            value = str(answer.body["accessToken"])
            extra = {"ea": str(answer.body["ea"]), "enterprise": str(answer.body["openUserId"])}
        else:
            answer = await self._log_in_call("/cgi/corpAccessToken/get/V2", credentials)
            value = str(answer.body["corpAccessToken"])
            extra = {"enterprise": str(answer.body["corpId"])}
        self._http.hide(value)
        if self._settings.auth == "body":
            extra["user"] = await self._acting_user(value, extra["enterprise"])
        return Token(value, answer.answered + int(answer.body["expiresIn"]) * 1000, extra)

    async def _log_in_call(self, path: str, body: Body) -> Answered:
        async def once() -> Answered:
            try:
                return await self._exchange(path, body, {}, self._settings.timeout)
            except Refusal as refusal:
                if refusal.verdict.retry is Retry.WAIT:
                    raise refusal.verdict.error(refusal.message, code=refusal.code) from None
                # Everything else that a log-in hears is about who we are, whatever the code says elsewhere.
                raise CredentialsRefused(
                    refusal.message, hint="check app_id, app_secret and permanent_code, and the app's IP whitelist"
                ) from None

        return await repeat(once, sleep=self._kit.sleep)

    async def _acting_user(self, token: str, enterprise: str) -> str:
        body = {"corpAccessToken": token, "corpId": enterprise, "mobile": self._settings.mobile}
        found = (await self._log_in_call("/cgi/user/getByMobile", body)).body.get("empList") or []
        if not found:
            raise CredentialsRefused(
                "no employee has the mobile number of the settings", hint="correct `mobile`, with its country code"
            )
        return str(found[0]["openUserId"])
