from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import respx

from hub.connector.breaker import Breaker, BreakerState
from hub.connector.http import BadAnswer, Http, TransportFailure, exact_json, repeat
from hub.connector.kit import Kit
from hub.connector.turns import for_flow, for_person
from hub.domain.clock import ManualClock
from hub.domain.errors import InvalidInput, QuotaSpent, VendorError
from hub.domain.outcome import OutcomeKind

BASE = "http://erp.test"


class Waits:
    """Stands in for sleeping, and remembers."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def http(waits: Waits) -> AsyncIterator[Http]:
    client = Http(
        BASE, clock=ManualClock(), logger=logging.getLogger("test"), sleep=waits, secrets=["p/ss wörd"], max_body=1000
    )
    yield client
    await client.aclose()


@pytest.fixture
async def near(waits: Waits) -> AsyncIterator[Http]:
    """Of a system on this machine, which may name other addresses here."""
    client = Http("http://127.0.0.1", clock=ManualClock(), logger=logging.getLogger("test"), sleep=waits)
    yield client
    await client.aclose()


def test_decimals_stay_as_they_were_written() -> None:
    found = exact_json('{"a": 1200.00, "b": 0.1, "c": 1e3, "d": 12, "e": 123456789012345678901234567890.5, "f": -0.0}')
    assert found == {
        "a": "1200.00",
        "b": "0.1",
        "c": "1e3",
        "d": 12,
        "e": "123456789012345678901234567890.5",
        "f": "-0.0",
    }


@pytest.mark.parametrize("text", ["NaN", "Infinity", '{"a": -Infinity}', "", "{", "<html>"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        exact_json(text)


@pytest.mark.parametrize(
    ("raised", "sent"),
    [
        (httpx.ConnectTimeout("x"), False),
        (httpx.PoolTimeout("x"), False),
        (httpx.ConnectError("refused"), False),
        (httpx.UnsupportedProtocol("x"), False),
        (httpx.ReadTimeout("x"), True),
        (httpx.WriteTimeout("x"), True),
        (httpx.ReadError("reset"), True),
        (httpx.WriteError("x"), True),
        (httpx.RemoteProtocolError("x"), True),
        (httpx.DecodingError("x"), True),
        (TimeoutError(), True),
    ],
)
@respx.mock
async def test_a_failure_says_whether_the_request_had_left(http: Http, raised: Exception, sent: bool) -> None:
    route = respx.post(f"{BASE}/save").mock(side_effect=raised)
    with pytest.raises(TransportFailure) as caught:
        await http.send("POST", "/save", json={})
    assert caught.value.sent is sent
    assert caught.value.outcome().kind is (OutcomeKind.UNKNOWN if sent else OutcomeKind.DOWN)
    assert (caught.value.hint is None) is sent
    assert route.call_count == 1


async def test_a_refused_connection_never_left(near: Http) -> None:
    with pytest.raises(TransportFailure) as caught:
        await near.send("POST", "http://127.0.0.1:9/save", json={})
    assert not caught.value.sent


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that answers as `talk` does; gives its address, and has closed every connection in the end."""
    talks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*talks, return_exceptions=True)


async def test_a_server_that_accepts_and_is_silent_has_the_request(near: Http) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as url:
        with pytest.raises(TransportFailure) as caught:
            await near.send("POST", f"{url}/save", json={}, timeout=0.1)
    assert caught.value.sent


async def test_an_answer_that_trickles_ends_at_the_time_out(near: Http) -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with listening(trickle) as url:
        with pytest.raises(TransportFailure, match=r"no answer within 0\.2 s") as caught:
            await near.send("GET", f"{url}/", timeout=0.2)
    assert caught.value.sent


@respx.mock
async def test_bad_json_says_what_came(http: Http) -> None:
    respx.get(f"{BASE}/x").respond(200, html="<html>Please log in, p/ss wörd</html>")
    with pytest.raises(BadAnswer, match="Please log in, \\*\\*\\*") as caught:
        (await http.send("GET", "/x")).json()
    assert caught.value.outcome().kind is OutcomeKind.UNKNOWN


@respx.mock
async def test_a_secret_across_the_edge_of_an_excerpt_leaves_no_half(http: Http) -> None:
    respx.get(f"{BASE}/x").respond(200, text="x" * 295 + "p/ss wörd")
    assert "p/ss" not in (await http.send("GET", "/x")).excerpt()


@respx.mock
async def test_a_body_longer_than_allowed_is_not_read(http: Http) -> None:
    respx.get(f"{BASE}/x").respond(200, text="x" * 1001)
    with pytest.raises(BadAnswer, match="more than 1000 bytes") as caught:
        await http.read("GET", "/x")
    assert not caught.value.retryable


@pytest.mark.parametrize("spelling", ["p/ss wörd", "p%2Fss%20w%C3%B6rd", "p%2Fss+w%C3%B6rd", "p/ss w\\u00f6rd"])
@respx.mock
async def test_no_spelling_of_a_secret_reaches_errors_or_logs(
    http: Http, spelling: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    respx.get(url__startswith=BASE).mock(side_effect=httpx.ReadError(f"lost {spelling}"))
    with pytest.raises(TransportFailure) as caught:
        await http.send("GET", f"/x/{spelling}?key={spelling}")
    assert "ss w" not in f"{caught.value} {caught.value!r} {caplog.text}"
    assert "ss%20w" not in f"{caught.value} {caught.value!r} {caplog.text}"


@respx.mock
async def test_wire_logs_show_no_query(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    respx.get(url__startswith=BASE).respond(200)
    await http.send("GET", "/x", params={"token": "never-told-to-hide"})
    assert "GET /x -> 200" in caplog.text
    assert "never-told-to-hide" not in caplog.text


@respx.mock
async def test_a_read_waits_as_long_as_it_is_told_and_no_shorter(http: Http, waits: Waits) -> None:
    respx.get(f"{BASE}/x").mock(
        side_effect=[
            httpx.Response(429, headers={"Retry-After": "7"}),
            httpx.Response(503, headers={"Retry-After": "Tue, 14 Nov 2023 22:13:29 GMT"}),  # 9 s after the clock
            httpx.Response(200, json={"ok": True}),
        ]
    )
    assert (await http.read("GET", "/x")).json() == {"ok": True}
    assert 7 <= waits.slept[0] <= 7.5
    assert 9 <= waits.slept[1] <= 10


@respx.mock
async def test_a_read_gives_up_with_the_last_failure(http: Http, waits: Waits) -> None:
    route = respx.get(f"{BASE}/x").respond(500, text="out of order")
    with pytest.raises(VendorError, match="out of order") as caught:
        await http.read("GET", "/x", attempts=3)
    assert (route.call_count, len(waits.slept), caught.value.code) == (3, 2, "500")


@respx.mock
async def test_a_refusal_is_not_repeated(http: Http) -> None:
    route = respx.get(f"{BASE}/x").respond(403)
    assert (await http.read("GET", "/x")).status == 403
    assert route.call_count == 1


@pytest.mark.parametrize(
    "error",
    [
        VendorError("no", retryable=False),
        VendorError("much later", retry_after=3600),
        QuotaSpent("tomorrow", resumes_at=1, limit="day"),
        RuntimeError("a bug"),
    ],
)
async def test_what_does_not_pass_is_not_repeated(error: Exception, waits: Waits) -> None:
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error)):
        await repeat(call, sleep=waits)
    assert calls == 1


@respx.mock
async def test_cookies_are_not_kept(http: Http) -> None:
    route = respx.get(f"{BASE}/x").respond(200, headers={"Set-Cookie": "session=1; Path=/"})
    await http.send("GET", "/x")
    await http.send("GET", "/x")
    assert "cookie" not in route.calls.last.request.headers


async def test_a_system_that_does_not_answer_is_left_alone_and_one_that_answers_is_not() -> None:
    clock, breaker, status = ManualClock(), Breaker(ManualClock(), threshold=2), 200

    async def answer(request: httpx.Request) -> httpx.Response:
        if status == 0:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(status)

    kit = Kit.local("erp", clock=clock, transport=httpx.MockTransport(answer), breaker=breaker)
    http = kit.http("http://erp.test", secrets=["hidden-thing"])
    for status in (0, 200, 0, 429, 503, 400, 502, 500):  # noqa: B007 - `answer` reads it
        with suppress(TransportFailure):
            await http.send("GET", "/x")
        assert breaker.state is BreakerState.CLOSED
    for status in (0, 503):  # noqa: B007
        with suppress(TransportFailure):
            await http.send("GET", "/hidden-thing")
    status = 200
    with pytest.raises(TransportFailure, match="never left: the system did not answer 2 times in a row") as caught:
        await http.send("GET", "/x")
    assert not caught.value.sent
    assert caught.value.outcome().kind is OutcomeKind.DOWN
    assert "hidden-thing" not in caught.value.message
    with for_person():
        assert (await http.send("GET", "/x")).status == 200
    assert breaker.state is BreakerState.CLOSED
    await http.aclose()


async def test_who_waits_for_a_connection_goes_by_standing_and_not_for_ever() -> None:
    order, asked, go = [], asyncio.Event(), asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        order.append(request.url.path)
        asked.set()
        await go.wait()
        return httpx.Response(200)

    kit = Kit.local("erp", transport=httpx.MockTransport(answer))
    http = kit.http("http://erp.test", connections=1)
    tasks = [asyncio.create_task(http.send("GET", "/first"))]
    for path, priority in (("/low", 0), ("/high", 5)):
        with for_flow(priority):
            tasks.append(asyncio.create_task(http.send("GET", path)))
    await asked.wait()
    with pytest.raises(TransportFailure, match=r"never left: every connection was busy for 0\.01 s"):
        await http.send("POST", "/late", timeout=0.01)
    go.set()
    await asyncio.gather(*tasks)
    assert order == ["/first", "/high", "/low"]
    await http.aclose()


async def test_a_redirect_is_an_answer_and_is_followed_nowhere(http: Http) -> None:
    with respx.mock(assert_all_called=False) as net:
        net.get(f"{BASE}/page").respond(302, headers={"Location": "http://169.254.169.254/latest/meta-data"})
        elsewhere = net.route(host="169.254.169.254").respond(200)
        assert (await http.send("GET", "page")).status == 302
        assert (await http.read("GET", "page")).status == 302
        async with http.stream("GET", "page") as streamed:
            assert streamed.status == 302
        assert not elsewhere.called


async def test_an_address_in_data_is_looked_at_before_it_is_called(waits: Waits) -> None:
    own = Http(
        "https://1.1.1.1", clock=ManualClock(), logger=logging.getLogger("test"), sleep=waits, headers={"X-Key": "ours"}
    )
    with respx.mock(assert_all_called=False) as net:
        inside = net.route(host__regex=r"^(127|10|169)\.").respond(200)
        outside = net.route(host="8.8.8.8").respond(200)
        home = net.route(host="1.1.1.1").respond(200)
        for address in ("http://127.0.0.1:8300/api", "http://10.0.0.5/", "http://169.254.169.254/"):
            with pytest.raises(InvalidInput):
                await own.send("POST", address, json={})
            with pytest.raises(InvalidInput):
                async with own.stream("GET", address):
                    pass
        assert not inside.called
        await own.send("GET", "https://8.8.8.8/file")
        async with own.stream("GET", "https://8.8.8.8/file", headers={"X-Sign": "theirs"}):
            pass
        await own.send("GET", "https://1.1.1.1/page/2")
    assert ["x-key" in call.request.headers for call in outside.calls] == [False, False]
    assert outside.calls[1].request.headers["x-sign"] == "theirs"
    assert home.calls[0].request.headers["x-key"] == "ours"
    await own.aclose()
