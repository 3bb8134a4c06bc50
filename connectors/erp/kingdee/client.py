"""The WebAPI as the hub speaks it: sessions, signed headers, one call, and the loss of a session mended once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from connectors.erp.kingdee.answers import Answer, NoSuchService, SessionLost, is_lost, read, status_of
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.signing import login_sign, signed_headers
from hub.connector.codes import ErrorTable
from hub.connector.http import BadAnswer, Http, Response, TransportFailure, repeat
from hub.connector.kit import Kit
from hub.connector.tokens import Token, TokenSource
from hub.connector.turns import Turns
from hub.domain.errors import CredentialsRefused, HubError, Unreachable, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind

_AUTH = "Kingdee.BOS.WebApi.ServicesStub.AuthService."
_FORM = "Kingdee.BOS.WebApi.ServicesStub.DynamicFormService."
_ACCOUNTS = "Kingdee.BOS.ServiceFacade.ServicesStub.Account.AccountService."
_COOKIE = "kdservice-sessionid"
_LOGIN_TIMEOUT = 30.0
_COMPARE = "compare acct_id, username, app_id and app_secret with 第三方系统登录授权 in Kingdee"

_LOGIN_RESULTS = {
    0: "user, application or secret is wrong, or the user may not use this application",
    -1: "the log-in failed",
    -2: "the password should be changed first",
    -3: "the password must be changed first",
    -5: "the log-in wants to show a window (administrator, licence)",
    -6: "the cloud passport is not bound",
    -7: "the product has to be activated",
}
_USABLE_LOGINS = frozenset({1, -4})


class Found(NamedTuple):
    """What a read brought, and the milliseconds between which it was asked and answered."""

    body: Any
    asked: int
    answered: int


@dataclass(slots=True)
class _Session:
    """One session: its token, its turn, and the cookies that a load balancer gave with signed headers."""

    source: TokenSource
    turn: Turns = field(default_factory=Turns)
    load: int = 0
    proven: bool = False
    cookies: dict[str, str] = field(default_factory=dict)


class KingdeeClient:
    """Calls of one data centre. The server answers one call at a time in a session, so several are held."""

    def __init__(self, settings: KingdeeSettings, kit: Kit, errors: ErrorTable) -> None:
        self._settings = settings
        self._kit = kit
        self.errors = errors
        verify: bool | ssl.SSLContext = True
        if settings.ca_file is not None:
            verify = ssl.create_default_context(cafile=str(settings.ca_file))
        self._http: Http = kit.http(
            settings.server_url,
            secrets=[settings.app_secret.get_secret_value()],
            timeout=settings.timeout,
            connections=settings.sessions + 2,
            verify=verify,
        )
        self._sessions = [
            _Session(kit.token_source(f"{settings.acct_id}:{settings.username}:{at}", self._log_in))
            for at in range(settings.sessions)
        ]

    async def query(self, data: dict[str, Any]) -> Found:
        """ExecuteBillQuery: rows as lists. Raises VendorError for every shape of refusal, never an empty list."""
        found = await self.read("ExecuteBillQuery", {"data": data})
        if not isinstance(found.body, list) or any(not isinstance(row, list) for row in found.body):
            raise VendorError("ExecuteBillQuery answered with something that is not a list of rows")
        return found

    async def read(self, method: str, body: dict[str, Any]) -> Found:
        """A call that changes nothing, repeated while its failure may pass. Raises VendorError, Unreachable."""

        async def once() -> Found:
            try:
                response, answered = await self._in_session(method, body, None)
            except SessionLost:
                raise VendorError(f"{method}: the session was lost twice in a row", code="1") from None
            except NoSuchService:
                raise VendorError(f"this server has no service {method}", retryable=False) from None
            status = status_of(answered)
            if status is not None and not status.ok:
                raise await self._refused(method, status)
            return Found(answered, response.asked, response.answered)

        return await repeat(once, sleep=self._kit.sleep)

    async def write(self, method: str, body: dict[str, Any], timeout: float) -> Answer | Outcome:
        """A call that changes something, sent once: what the server says of it, or the one outcome of all its records.

        A lost session is a definite refusal, so the call goes out once more after a new log-in. Raises NoSuchService.
        """
        try:
            _, answered = await self._in_session(method, body, timeout)
        except SessionLost:
            message = f"{method}: the session was lost twice in a row"
            return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure(message, code="1"))
        except (TransportFailure, BadAnswer) as failure:
            return failure.outcome()
        except HubError as error:
            return not_executed(error)
        status = status_of(answered)
        if status is None:
            message = f"{method} answered with something that is no status"
            return Outcome(OutcomeKind.UNKNOWN, failure=Failure(message, code="answer"))
        if status.code == "14":
            await self._throttled()
        return status

    async def log_in(self) -> None:
        """Prove the credentials. Raises CredentialsRefused, Unreachable."""
        if self._settings.auth == "login_by_sign":
            await self._sessions[0].source.token()
            return
        await self.query({"FormId": "BD_Currency", "FieldKeys": "FNumber", "Limit": 1})

    async def data_centres(self) -> list[dict[str, Any]]:
        """The data centres that the server offers; needs no log-in."""
        response = await self._http.read("POST", f"{_ACCOUNTS}GetDataCenterList.common.kdsvc", json={})
        found = read(response)
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    async def aclose(self) -> None:
        await self._http.aclose()

    # -- sessions -------------------------------------------------------------------------------------------------

    async def _in_session(self, method: str, body: dict[str, Any], timeout: float | None) -> tuple[Response, Any]:
        """Send in a session; once more with a new one if the server has lost it, then SessionLost."""
        async with self._session() as session:
            try:
                return await self._send(session, method, body, timeout)
            except SessionLost:
                pass
            try:
                return await self._send(session, method, body, timeout)
            except SessionLost:
                if self._settings.auth == "signed_headers":
                    # No session was sent along, so it is the signature that the server does not accept.
                    raise CredentialsRefused(
                        "Kingdee does not accept the signature of the requests", hint=_COMPARE
                    ) from None
                raise

    async def _send(
        self, session: _Session, method: str, body: dict[str, Any], timeout: float | None
    ) -> tuple[Response, Any]:
        path = f"{_FORM}{method}.common.kdsvc"
        token = await self._token(session)
        async with self._turn(session, method, timeout):
            headers = self._headers(session, token, path)
            response = await self._http.send("POST", path, content=orjson.dumps(body), headers=headers, timeout=timeout)
            self._keep_cookies(session, response)
        try:
            if response.status == 429:
                raise VendorError(
                    f"{response.where} answered 429: {response.excerpt()}",
                    code="14",
                    retry_after=response.retry_after or 10.0,
                )
            answered = read(response)
            status = status_of(answered)
            if status is not None and is_lost(status):
                raise SessionLost
        except SessionLost:
            session.cookies.clear()
            if token is not None:
                await session.source.invalidate(token)
            raise
        session.proven = True
        return response, answered

    @asynccontextmanager
    async def _turn(self, session: _Session, method: str, timeout: float | None) -> AsyncIterator[None]:
        """A session's turn. A write that waits for it longer than for its answer is not sent: its lease may end."""
        try:
            async with asyncio.timeout(timeout):
                await session.turn.acquire()
        except TimeoutError:
            message = f"{method} was not sent: every session was busy for {timeout:g} s"
            raise VendorError(message, hint="raise `sessions`, or make batches smaller") from None
        try:
            await self._kit.budgets.take("webapi")
            yield
        finally:
            session.turn.release()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        """A free session; a new one is opened only when the earlier ones work and are busy, so that a wrong secret is
        tried once and not by everybody."""
        session = self._pick()
        session.load += 1
        try:
            yield session
        finally:
            session.load -= 1

    def _pick(self) -> _Session:
        for session in self._sessions:
            if not session.proven or session.load == 0:
                return session
        return min(self._sessions, key=lambda each: each.load)

    async def _token(self, session: _Session) -> Token | None:
        if self._settings.auth == "signed_headers":
            return None
        try:
            return await session.source.token()
        except TransportFailure as failure:
            # The log-in got lost, not the call that waits for it: nothing of that has left.
            raise Unreachable(failure.message, hint=failure.hint) from failure
        except BadAnswer as failure:
            raise VendorError(failure.message, code=failure.code, hint=failure.hint) from failure

    def _headers(self, session: _Session, token: Token | None, path: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        cookies = dict(session.cookies)
        if token is not None:
            self._http.hide(*token.extra.values())  # the log-in may have been another process's
            cookies = {**token.extra, **cookies, _COOKIE: token.value}
            headers[_COOKIE] = token.value
        else:
            headers |= signed_headers(
                self._settings.server_url + path,
                acct_id=self._settings.acct_id,
                username=self._settings.username,
                app_id=self._settings.app_id,
                app_secret=self._settings.app_secret.get_secret_value(),
                lcid=self._settings.lcid,
                org_num=self._settings.org_num,
                timestamp=self._kit.wall.now() // 1000,
            )
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return headers

    def _keep_cookies(self, session: _Session, response: Response) -> None:
        found = _cookies(response)
        if found:
            self._http.hide(*found.values())
            if self._settings.auth == "signed_headers":
                session.cookies.update(found)

    async def _log_in(self) -> Token:
        """LoginBySign, then the organisation to work in."""
        settings = self._settings
        stamp = self._kit.wall.now() // 1000
        secret = settings.app_secret.get_secret_value()
        sign = login_sign(settings.acct_id, settings.username, settings.app_id, secret, stamp, settings.sign_algorithm)
        self._http.hide(sign)
        parameters = [settings.acct_id, settings.username, settings.app_id, stamp, sign, settings.lcid]
        response = await self._http.read(
            "POST",
            f"{_AUTH}LoginBySign.common.kdsvc",
            json={"parameters": parameters},
            timeout=min(_LOGIN_TIMEOUT, settings.timeout),
        )
        try:
            answer = read(response)
        except (SessionLost, NoSuchService):
            answer = None
        if not isinstance(answer, dict) or "LoginResultType" not in answer:
            raise VendorError(
                "the log-in was answered by something that is not Kingdee",
                hint="check server_url: it ends with /k3cloud/",
            )
        token = self._token_of(answer, response)
        await self._switch_org(token)
        return token

    def _token_of(self, answer: dict[str, Any], response: Response) -> Token:
        result = int(answer.get("LoginResultType") or 0)
        session_id = str(answer.get("KDSVCSessionId") or "")
        if result not in _USABLE_LOGINS or not session_id:
            why = _LOGIN_RESULTS.get(result, f"LoginResultType {result}")
            said = self._http.redact(str(answer.get("Message") or "").strip())
            hint = _COMPARE
            if answer.get("MessageCode") == "002005000003016":
                hint = "the signature does not fit: compare app_secret, and sign_algorithm with the server's version"
            raise CredentialsRefused(f"Kingdee refuses the log-in: {why}" + (f" ({said})" if said else ""), hint=hint)
        cookies = {name: value for name, value in _cookies(response).items() if name != _COOKIE}
        self._http.hide(session_id, *cookies.values())
        return Token(session_id, extra=cookies)

    async def _switch_org(self, token: Token) -> None:
        number = self._settings.org_num
        if number in ("", "0"):
            return
        session = _Session(self._sessions[0].source)
        path = f"{_FORM}SwitchOrg.common.kdsvc"
        body = {"data": {"OrgNumber": number}}
        response = await self._http.read("POST", path, json=body, headers=self._headers(session, token, path))
        status = status_of(read(response))
        if status is not None and not status.ok:
            raise CredentialsRefused(
                f"the user {self._settings.username} can't work in organisation {number}: {status.message}",
                hint="give the user that organisation in Kingdee, or set another org_num",
            )

    async def _refused(self, method: str, status: Answer) -> VendorError:
        if status.code == "14":
            await self._throttled()
        message = self._http.redact(f"{method}: {status.message}")
        return self.errors.judge(status.code, message).error(message, code=status.code)

    async def _throttled(self) -> None:
        await self._kit.budgets.penalise("webapi", self.errors.judge("14", "").wait or 10.0)


def not_executed(error: HubError) -> Outcome:
    """The outcome of a write that did not get as far as leaving."""
    kind = OutcomeKind.DOWN if isinstance(error, Unreachable) else OutcomeKind.NOT_EXECUTED
    code = error.code if isinstance(error, VendorError) else None
    wait = error.retry_after if isinstance(error, VendorError) else None
    return Outcome(kind, failure=Failure(error.message, code=code), retry_after=wait)


def _cookies(response: Response) -> dict[str, str]:
    """Cookies that were set; each stands in a header of its own, and a comma in it is no separator."""
    found: dict[str, str] = {}
    for header in response.headers.get_list("set-cookie"):
        name, equals, value = header.partition(";")[0].partition("=")
        if equals:
            found[name.strip()] = value.strip()
    return found
