"""WeCom's protocol: a token for each secret in the query, errcode in every answer, limits by interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.wecom.settings import WeComSettings
from hub.connector.codes import ErrorTable, Retry, Verdict
from hub.connector.files import FileStream, file_of, multipart
from hub.connector.http import BadAnswer, Response, TransportFailure, repeat
from hub.connector.kit import Kit
from hub.connector.limits import Limit
from hub.connector.tokens import Token, TokenSource
from hub.domain.errors import CredentialsRefused, HubError, NotFound, QuotaSpent, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind

Body = dict[str, Any]

# The gateway counts a call when it arrives, we when it leaves; without a margin a slow first call would make the last
# one too many.
_JITTER = 1.0
_CONTACT_PATHS = frozenset({"user/create", "user/update", "user/delete", "user/list_id"})
_LARGEST_FILE = 20 * 1024 * 1024  # bytes, of type `file`
_LEAST_FILE = 6


@dataclass(frozen=True, slots=True)
class Answered:
    """A successful answer: its members, and the hub's clock around the call."""

    body: Body
    asked: int
    answered: int


class Refusal(Exception):
    """The platform answered with an errcode. `verdict` says what it means."""

    def __init__(self, code: str, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.verdict = verdict

    @property
    def refuses_us(self) -> bool:
        """The platform said no to the hub as such, not to this record."""
        return self.verdict.kind is OutcomeKind.NOT_EXECUTED and self.verdict.retry in (Retry.NEVER, Retry.TOKEN)

    def error(self) -> HubError:
        """What a read raises that has no use for a definite no."""
        if self.refuses_us:
            return CredentialsRefused(self.message, hint=self.verdict.hint)
        return VendorError(self.message, code=self.code, retryable=False, hint=self.verdict.hint)


class WeComClient:
    """One self-built app of one corp. `ask` repeats what may be repeated; `write` sends once."""

    def __init__(self, settings: WeComSettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        keys = {
            "app": settings.secret,
            "contact": settings.contact_secret or settings.secret,
            "customer": settings.customer_secret or settings.secret,
        }
        hidden = [secret.get_secret_value() for secret in (*keys.values(), *settings.robots.values())]
        hidden += [
            secret.get_secret_value() for secret in (settings.callback_token, settings.callback_aes_key) if secret
        ]
        self._http = kit.http(
            settings.base_url, secrets=hidden, timeout=settings.timeout, connections=settings.concurrency + 4
        )
        self._keys = {name: secret.get_secret_value() for name, secret in keys.items()}
        # One secret is one app is one token: two names for the same secret share it.
        sources: dict[str, TokenSource] = {}
        for name, secret in self._keys.items():
            if secret not in sources:
                account = f"{settings.corp_id}:{settings.agent_id}:{name}"
                sources[secret] = kit.token_source(account, self._login(secret))
        self._tokens = {name: sources[secret] for name, secret in self._keys.items()}
        self._errors = ErrorTable.load(Path(__file__).with_name("errors.yaml"), settings.errors, kit.logger)
        minute = 60 + _JITTER
        kit.budgets.declare(
            [
                Limit("/*", settings.path_calls, minute, "calls of one interface a minute", each=True),
                Limit("/oa/get*", settings.approval_calls, minute, "calls of one approval read a minute", each=True),
                Limit("to:*", 30, minute, "messages to one member a minute", each=True),
                Limit("to:*", 1000, 3600 + _JITTER, "messages to one member an hour", each=True),
                Limit("robot:*", 20, minute, "messages of one robot a minute", each=True),
                Limit("login", 20, minute, "log-ins a minute"),
            ]
        )

    async def ask(self, path: str, body: Body | None = None, params: Mapping[str, str] | None = None) -> Answered:
        """A call that changes nothing, repeated while that helps: POST with a body, GET without.

        Raises Refusal for a definite no; QuotaSpent, VendorError, TransportFailure, CredentialsRefused.
        """

        async def once() -> Answered:
            try:
                return await self._call(path, body, params or {}, self._settings.timeout)
            except Refusal as refusal:
                if refusal.verdict.retry is Retry.WAIT:
                    raise refusal.verdict.error(refusal.message, code=refusal.code) from None
                raise

        return await repeat(once, sleep=self._kit.sleep)

    async def read(self, path: str, body: Body | None = None, params: Mapping[str, str] | None = None) -> Answered:
        """Like `ask`; a definite no is raised as CredentialsRefused or VendorError."""
        try:
            return await self.ask(path, body, params)
        except Refusal as refusal:
            raise refusal.error() from None

    async def write(
        self, path: str, body: Body | None, timeout: float, params: Mapping[str, str] | None = None
    ) -> Answered:
        """A call that changes something: sent once, again only with a new token after the old one was refused.

        Raises Refusal, TransportFailure, BadAnswer, QuotaSpent (nothing left), CredentialsRefused (nothing left).
        """
        return await self._call(path, body, params or {}, timeout)

    async def robot(self, name: str, body: Body, timeout: float) -> Answered:
        """Send by a group robot, whose key stands in the address and is all that it needs. Raises like `write`."""
        await self._kit.budgets.take(f"robot:{name}")
        key = self._settings.robots[name].get_secret_value()
        response = await self._http.send("POST", "webhook/send", json=body, params={"key": key}, timeout=timeout)
        return await self._judged("webhook/send", response, group=f"robot:{name}")

    async def take(self, group: str) -> None:
        """Wait for a budget that the platform keeps in silence (`to:USERID`)."""
        await self._kit.budgets.take(group)

    async def log_in(self) -> None:
        """Prove the app's secret. Raises CredentialsRefused."""
        await self._tokens["app"].token()

    async def upload(self, kind: str, file: FileStream) -> str:
        """Keep a file on the platform for three days; its media id. Sent once; raises Refusal and like a read."""
        form = multipart(file.bounded(_LARGEST_FILE, "WeCom", least=_LEAST_FILE), field="media", announce="filelength")
        await self._kit.budgets.take("/media/upload")
        token = await self._tokens["app"].token()
        query = {"access_token": token.value, "type": kind}
        response = await self._http.send(
            "POST", "media/upload", content=form.content, headers=form.headers, params=query, timeout=300.0
        )
        try:
            answered = await self._judged("media/upload", response)
        except Refusal as refusal:
            if refusal.verdict.retry is Retry.TOKEN:
                # The file has passed and can't be sent again from here; the next try of the whole has a new token.
                await self._tokens["app"].invalidate(token)
                raise VendorError(refusal.message, code=refusal.code) from None
            raise
        id = answered.body.get("media_id")
        if not isinstance(id, str) or not id:
            raise BadAnswer(f"{response.where} answered without a media_id: {response.excerpt()}")
        return id

    @asynccontextmanager
    async def download(self, media_id: str) -> AsyncIterator[FileStream]:
        """One kept file. Raises NotFound when it is gone, and like a read."""
        for last in (False, True):
            await self._kit.budgets.take("/media/get")
            token = await self._tokens["app"].token()
            query = {"access_token": token.value, "media_id": media_id}
            async with self._http.stream("GET", "media/get", params=query, timeout=self._settings.timeout) as answer:
                if answer.status == 200 and "content-disposition" in answer.headers:
                    yield file_of(answer)
                    return
                response = await answer.whole()
            try:
                await self._judged("media/get", response)
            except Refusal as refusal:
                if refusal.code == "40007":
                    raise NotFound(refusal.message, hint="media are kept for three days") from None
                if refusal.verdict.retry is not Retry.TOKEN or last:
                    again = refusal.verdict.retry is not Retry.NEVER
                    raise (
                        refusal.verdict.error(refusal.message, code=refusal.code) if again else refusal.error()
                    ) from None
                await self._tokens["app"].invalidate(token)
                continue
            raise BadAnswer(f"{response.where} answered {response.status} without a file: {response.excerpt()}")

    def failed(self, error: Exception) -> Outcome:
        """What a write reports that was under way when this was raised."""
        if isinstance(error, Refusal):
            return error.verdict.outcome(error.message, code=error.code)
        if isinstance(error, (TransportFailure, BadAnswer)):
            return error.outcome()
        if isinstance(error, HubError):
            return self.not_begun(error)
        raise error

    def not_begun(self, error: HubError | Refusal) -> Outcome:
        """What a write reports that never left: no log-in, no description, no budget."""
        if isinstance(error, Refusal):
            return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure(error.message, code=error.code))
        if isinstance(error, TransportFailure):
            return Outcome(OutcomeKind.DOWN, failure=Failure(error.message, code="transport"))
        after = error.retry_after if isinstance(error, VendorError) else None
        if isinstance(error, QuotaSpent):
            after = max(0.0, (error.resumes_at - self._kit.clock.now()) / 1000)
        code = error.code if isinstance(error, VendorError) else None
        return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure(error.message, code=code), retry_after=after)

    async def aclose(self) -> None:
        await self._http.aclose()

    # --- one call ----------------------------------------------------------------------------------------------------

    async def _call(self, path: str, body: Body | None, params: Mapping[str, str], timeout: float) -> Answered:
        source = self._source(path)
        for last in (False, True):
            token = await source.token()
            await self._kit.budgets.take(f"/{path}")
            query = {**params, "access_token": token.value}
            method = "GET" if body is None else "POST"
            response = await self._http.send(method, path, json=body, params=query, timeout=timeout)
            try:
                return await self._judged(path, response)
            except Refusal as refusal:
                if refusal.verdict.retry is not Retry.TOKEN or last:
                    raise
                # Refused at the gate, so nothing was done: the same call may go again, with a new token.
                await source.invalidate(token)
        raise AssertionError("the second attempt returns or raises")

    async def _judged(self, path: str, response: Response, *, group: str | None = None) -> Answered:
        if response.status >= 500:
            raise BadAnswer(f"{response.where} answered {response.status}: {response.excerpt()}")
        body = response.json()
        if not isinstance(body, dict) or type(body.get("errcode")) is not int:
            raise BadAnswer(
                f"{response.where} answered {response.status} without an errcode: {response.excerpt()}",
                hint="check base_url: it ends with /cgi-bin",
            )
        if body["errcode"] == 0:
            return Answered(body, response.asked, response.answered)
        code, words = str(body["errcode"]), self._http.redact(str(body.get("errmsg") or "no words"))
        refusal = Refusal(code, f"{path}: {words} (errcode {code})", self._errors.judge(code, words))
        if refusal.verdict.retry is Retry.WAIT and refusal.verdict.kind is OutcomeKind.NOT_EXECUTED:
            await self._kit.budgets.penalise(group or f"/{path}", refusal.verdict.wait or 1.0)
        raise refusal

    def _source(self, path: str) -> TokenSource:
        if path in _CONTACT_PATHS:
            return self._tokens["contact"]
        return self._tokens["customer" if path.startswith("externalcontact/") else "app"]

    def _login(self, secret: str) -> Any:
        async def log_in() -> Token:
            await self._kit.budgets.take("login")
            query = {"corpid": self._settings.corp_id, "corpsecret": secret}

            async def once() -> Answered:
                response = await self._http.send("GET", "gettoken", params=query, timeout=self._settings.timeout)
                try:
                    return await self._judged("gettoken", response, group="login")
                except Refusal as refusal:
                    if refusal.verdict.retry is Retry.WAIT:
                        raise refusal.verdict.error(refusal.message, code=refusal.code) from None
                    hint = refusal.verdict.hint or "check corp_id and secret"
                    raise CredentialsRefused(refusal.message, hint=hint) from None

            answered = await repeat(once, sleep=self._kit.sleep)
            token, seconds = answered.body.get("access_token"), answered.body.get("expires_in")
            if not isinstance(token, str) or not token or not isinstance(seconds, int):
                raise BadAnswer("gettoken answered without a token", hint="check base_url")
            self._http.hide(token)
            return Token(token, answered.asked + seconds * 1000)

        return log_in
