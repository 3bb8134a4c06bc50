"""HTTP for connectors: one request, one answer or one typed failure that says whether the request had left."""

from __future__ import annotations

import asyncio
import contextlib
import json as stdlib_json
import logging
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar

import httpx
import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from hub.connector import fence
from hub.connector.breaker import Breaker
from hub.connector.redaction import Redactor
from hub.connector.turns import Turns
from hub.connector.urls import require_foreign_address, require_web_address
from hub.domain.clock import Clock
from hub.domain.errors import HubError, QuotaSpent, Unreachable, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

_SHOWN = 300  # characters of a body that an error may quote
_OUT_OF_ORDER = frozenset({502, 503, 504})  # said by what stands before the system, or by the system in maintenance
_LONGEST_WAIT = 60.0  # seconds; who asks for more gets the failure, and the engine plans the next try

# Mistakes of ours, which say nothing about the system.
_OURS = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.PoolTimeout)

# Whatever of httpx's tree stands here happened before the first byte of the request could leave.
_NEVER_LEFT = (
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ConnectError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.ProxyError,
    httpx.InvalidURL,
)


class TransportFailure(Unreachable):
    """No answer. `sent=False`: the request never left; `sent=True`: it left, and nobody knows what became of it."""

    def __init__(self, message: str, *, sent: bool, hint: str | None = None, passed: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.passed = passed  # it is our own lease that did not last, and no fault of the system's

    def outcome(self) -> Outcome:
        """What a write reports of this failure: DOWN if it never left, UNKNOWN otherwise."""
        if self.passed:
            failure = Failure(self.message, code="lease")
            return Outcome(OutcomeKind.NOT_EXECUTED, failure=failure, retry_after=0.0)
        kind = OutcomeKind.UNKNOWN if self.sent else OutcomeKind.DOWN
        return Outcome(kind, failure=Failure(self.message, code="transport"))


class BadAnswer(VendorError):
    """An answer came, but it can't be read: not JSON, cut off, too long. For a write this means *unknown*."""

    def outcome(self) -> Outcome:
        return Outcome(OutcomeKind.UNKNOWN, failure=Failure(self.message, code="answer"))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that came in whole. `[asked, answered]` are milliseconds of the hub's clock around the call."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    asked: int
    answered: int
    where: str
    redact: Redactor = field(repr=False)

    def json(self) -> Any:
        """The body as JSON, decimals as the text that stood there ('1200.00'). Raises BadAnswer, which shows it."""
        try:
            return exact_json(self.body)
        except ValueError as error:
            kind = self.headers.get("content-type", "no content type")
            raise BadAnswer(
                f"{self.where} answered {self.status} with something that is not JSON ({kind}): {self.excerpt()}",
                hint="check the address in the settings; a proxy or a login page may answer in the system's place",
            ) from error

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def excerpt(self) -> str:
        """The beginning of the body for a message, secrets taken out."""
        # Redacted before it is cut: a secret across the edge would else leave its first half behind.
        text = self.redact(self.body[: _SHOWN * 8].decode("utf-8", "replace"))
        return repr(text[:_SHOWN] + ("…" if len(text) > _SHOWN else "")) if text else "an empty body"

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asked to wait, from Retry-After as seconds or as a date."""
        value = self.headers.get("retry-after", "").strip()
        if not value:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - self.answered / 1000)
        except ValueError:
            return None


class Streamed:
    """An answer whose body is still to come: `pieces` of a file, or `whole` where it turns out to be an ordinary one.

    `size` is the number of bytes to come, None where the server does not say.
    """

    def __init__(self, http: Http, answer: httpx.Response, where: str, asked: int, left: _Left, idle: float) -> None:
        self.status = answer.status_code
        self.headers = answer.headers
        self.where = http.redact(where)
        self._http = http
        self._answer = answer
        self._asked = asked
        self._left = left
        self._idle = idle

    @property
    def size(self) -> int | None:
        length = self.headers.get("content-length", "")
        # The length of a compressed body says nothing of the file's.
        return int(length) if length.isdigit() and "content-encoding" not in self.headers else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises TransportFailure when it breaks off."""
        try:
            async for piece in self._answer.aiter_bytes():
                yield piece
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._http._failure(self.where, error, self._left, self._idle) from None

    async def whole(self) -> Response:
        """The answer with its whole body, within the client's limit for ordinary answers."""
        try:
            body = await self._http._body(self._answer, self.where)
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._http._failure(self.where, error, self._left, self._idle) from None
        now = self._http._clock.now()
        return Response(self.status, self.headers, body, self._asked, now, self.where, self._http.redact)


def _origin(url: httpx.URL) -> tuple[str, bytes]:
    return url.scheme, url.netloc


def exact_json(body: bytes | str) -> Any:
    """JSON without binary fractions: a number with a point or an exponent stays the text that it was written as."""
    return stdlib_json.loads(body, parse_float=str, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Http:
    """A pooled client for one system.

    `send` sends once, whatever happens: writes belong to the ledger. `read` repeats what is safe to repeat.
    Secrets that it knows (`hide`) never reach its logs or errors. Who waits for one of its `connections` goes by
    standing; what its `breaker` holds back never leaves.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        logger: logging.Logger,
        sleep: Sleep = asyncio.sleep,
        secrets: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 10.0,
        max_body: int = 64 * 1024 * 1024,
        connections: int = 20,
        proxy: str | None = None,
        verify: bool | ssl.SSLContext = True,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.redact = Redactor(secrets)
        self._breaker = breaker
        self._turns = Turns(connections)
        self._clock = clock
        self._logger = logger
        self._sleep = sleep
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_body = max_body
        _quiet_wire_logs()
        self._base = httpx.URL(base_url)
        self._trusted = {_origin(self._base)}
        self._proxied = proxy is not None
        self._own_headers = frozenset(name.lower() for name in headers or ())
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            # Two identities must never share a jar: a connector whose vendor uses cookies sends its own.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            http1=True,
            http2=False,
            follow_redirects=False,
            trust_env=False,
            proxy=proxy,
            verify=verify,
            transport=transport,
            # Servers close idle connections after five seconds or more: we let go first, or a write would meet a
            # connection that is just being closed and end as unknown.
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=4.0
            ),
        )

    def trust(self, url: str) -> None:
        """This address is of the same system by its owner's word: by a setting, and not by what came in data."""
        self._trusted.add(_origin(httpx.URL(url)))

    def hide(self, *secrets: str) -> None:
        """Learn secrets that came later, such as tokens."""
        self.redact.learn(*secrets)

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Send once and return whatever status came. `timeout` is seconds for the whole exchange.

        A `content` in pieces is sent as they come; what they raise is raised. Inside a claim (see `fence`) nothing is
        sent whose answer might come after its lease has passed. Raises TransportFailure when no complete answer came,
        BadAnswer when it is longer than allowed.
        """
        total = self._timeout if timeout is None else timeout
        connect = min(self._connect_timeout, total)
        sent_headers = dict(headers or {})
        if json is not None:
            content = orjson.dumps(json)
            sent_headers.setdefault("Content-Type", "application/json; charset=utf-8")
        where = f"{method} {path.partition('?')[0]}"
        left = _Left(total)
        foreign = await self._foreign(path)
        await self._may_leave(where, total)
        asked = self._clock.now()
        started = self._clock.monotonic()
        try:
            fence.prove(total)
            request = self._client.build_request(
                method,
                path,
                content=content,
                params=params,
                headers=sent_headers,
                timeout=httpx.Timeout(total, connect=connect, pool=connect),
                extensions={"trace": left.trace},
            )
            if foreign:
                self._strip(request, sent_headers)
            async with asyncio.timeout(total):
                answer = await self._client.send(request, stream=True)
                try:
                    body = await self._body(answer, where)
                finally:
                    await answer.aclose()
        except fence.LeasePassed as error:
            raise TransportFailure(f"{self.redact(where)} was not sent: {error}", sent=False, passed=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise self._failure(where, error, left, total) from None
        finally:
            self._turns.release()
        self._heard(where, answer.status_code)
        took = self._clock.monotonic() - started
        self._logger.debug("%s -> %s in %.3f s, %d bytes", self.redact(where), answer.status_code, took, len(body))
        return Response(
            answer.status_code, answer.headers, body, asked, self._clock.now(), self.redact(where), self.redact
        )

    async def _foreign(self, path: str) -> bool:
        """Whether it is a whole address of another host: one that came in data, and must not lead where it likes.

        Redirects lead nowhere at all: nobody follows them.
        """
        try:
            url = httpx.URL(path)
        except httpx.InvalidURL:
            return False  # told when the request is built
        if not url.is_absolute_url or _origin(url) in self._trusted:
            return False
        if self._proxied:  # where a name leads is the proxy's to say
            require_web_address(path)
        else:
            await require_foreign_address(path, of=str(self._base))
        return True

    def _strip(self, request: httpx.Request, given: Mapping[str, str]) -> None:
        """What tells this system who we are is nobody else's business."""
        for name in self._own_headers - {one.lower() for one in given}:
            request.headers.pop(name, None)

    async def read(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        attempts: int = 4,
    ) -> Response:
        """Like `send`, for what may be repeated: reads and log-ins. 429 and 5xx are repeated, then a VendorError."""

        async def once() -> Response:
            answer = await self.send(
                method, path, json=json, content=content, params=params, headers=headers, timeout=timeout
            )
            if answer.status == 429 or answer.status >= 500:
                raise VendorError(
                    f"{answer.where} answered {answer.status}: {answer.excerpt()}",
                    code=str(answer.status),
                    retry_after=answer.retry_after,
                    hint="the system is overloaded or out of order; the hub tries again later",
                )
            return answer

        return await repeat(once, attempts=attempts, sleep=self._sleep)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Streamed]:
        """Send once and give the answer before its body, for files of any size.

        `timeout` is seconds that each piece may take, not the whole. Leaving the block lets the connection go, also in
        mid-file. Raises TransportFailure.
        """
        idle = self._timeout if timeout is None else timeout
        connect = min(self._connect_timeout, idle)
        where = f"{method} {path.partition('?')[0]}"
        asked = self._clock.now()
        left = _Left()
        foreign = await self._foreign(path)
        try:
            request = self._client.build_request(
                method,
                path,
                content=content,
                params=params,
                headers=dict(headers or {}),
                timeout=httpx.Timeout(idle, connect=connect, pool=connect),
                extensions={"trace": left.trace},
            )
            if foreign:
                self._strip(request, headers or {})
            answer = await self._client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._failure(where, error, left, idle) from None
        self._heard(where, answer.status_code)
        self._logger.debug("%s -> %s, a stream", self.redact(where), answer.status_code)
        try:
            yield Streamed(self, answer, where, asked, left, idle)
        finally:
            await answer.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _may_leave(self, where: str, seconds: float) -> None:
        """Wait for a connection, at most that long; the caller gives it back. Raises TransportFailure: nothing left."""
        if self._breaker is not None and (why := self._breaker.refuses()) is not None:
            raise self._kept(where, why)
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise self._kept(where, f"every connection was busy for {seconds:g} s") from None

    def _kept(self, where: str, why: str) -> TransportFailure:
        message = f"{self._client.base_url.host}: {where}: the request never left: {why}"
        return TransportFailure(self.redact(message), sent=False)

    def _heard(self, where: str, status: int) -> None:
        """Any answer is a sign of life, except of who stands in for a system that is away."""
        if self._breaker is None:
            return
        if status in _OUT_OF_ORDER:
            self._breaker.failure(self.redact(f"{where} answered {status}"))
        else:
            self._breaker.success()

    async def _body(self, answer: httpx.Response, where: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in answer.aiter_bytes():
            size += len(part)
            if size > self._max_body:
                raise BadAnswer(
                    f"{self.redact(where)} answered with more than {self._max_body} bytes",
                    retryable=False,
                    hint="read smaller pages or fewer fields",
                )
            parts.append(part)
        return b"".join(parts)

    def _failure(self, where: str, error: Exception, left: _Left, total: float) -> TransportFailure:
        sent = left.sent if left.traced else not isinstance(error, _NEVER_LEFT)
        reason = (
            f"no answer within {total:g} s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        )
        if isinstance(error, httpx.TimeoutException):
            reason = f"{type(error).__name__} after at most {total:g} s"
        host = self._client.base_url.netloc.decode("ascii", "replace")
        what = "the request left and no definite answer came" if sent else "the request never left"
        failure = TransportFailure(
            self.redact(f"{host}: {where}: {what}: {reason}"),
            sent=sent,
            hint=None
            if sent
            else f"check that {host} can be reached from this machine, and its address in the settings",
        )
        if self._breaker is not None and not isinstance(error, _OURS):
            self._breaker.failure(self.redact(f"{where}: {reason}"))
        self._logger.debug("%s", failure.message)
        return failure


class _Left:
    """Hears from the wire when the first byte of a request is about to leave.

    Exception types alone can't tell: our own time-out may strike while the connection is still being made.
    """

    def __init__(self, needs: float | None = None) -> None:
        self.traced = False
        self.sent = False
        self._needs = needs  # seconds that the claim's lease must still last; None: a late one does no harm

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        self.traced = True
        if event.endswith("send_request_headers.started"):
            if self._needs is not None:
                fence.prove(self._needs)
            self.sent = True


async def repeat(call: Callable[[], Awaitable[T]], *, attempts: int = 4, sleep: Sleep = asyncio.sleep) -> T:
    """Repeat a read or a log-in after failures that pass: exponential, full jitter, not earlier than the vendor asked.

    Repeats TransportFailure and retryable VendorErrors (QuotaSpent excepted: waiting for midnight is the engine's
    business), and raises the last failure. No lease is asked whether it may leave: a read does no harm, however late.
    """
    backoff = wait_random_exponential(multiplier=0.2, max=10)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, VendorError) else None
        return (asked or 0.0) + backoff(state)

    async for attempt in AsyncRetrying(
        stop=stop_after_attempt(attempts),
        wait=wait,
        retry=retry_if_exception(_passes),
        sleep=sleep,
        reraise=True,
    ):
        with attempt, fence.lifted():
            return await call()
    raise HubError("a read was repeated without end")  # AsyncRetrying either returns or raises


def _passes(error: BaseException) -> bool:
    if isinstance(error, TransportFailure):
        return True
    if isinstance(error, QuotaSpent) or not isinstance(error, VendorError):
        return False
    return error.retryable and (error.retry_after or 0.0) <= _LONGEST_WAIT


def _quiet_wire_logs() -> None:
    """httpx logs whole URLs and httpcore whole headers; both may carry tokens, so their debug lines stay off."""
    for name, least in (("httpx", logging.WARNING), ("httpcore", logging.INFO)):
        logger = logging.getLogger(name)
        if logger.level < least:
            logger.setLevel(least)
