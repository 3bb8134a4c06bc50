from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from hub.connector.files import FileRefused, FileStream, file_of, multipart, sized
from hub.connector.forms import form_parts
from hub.connector.http import BadAnswer, Http, TransportFailure
from hub.domain.clock import ManualClock
from hub.domain.errors import HubError

BASE = "http://files.test"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    client = Http(BASE, clock=ManualClock(), logger=logging.getLogger("test"), secrets=["s3cret"], max_body=1000)
    yield client
    await client.aclose()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise httpx.ReadError("reset")


async def content_of(file: FileStream) -> bytes:
    return b"".join([piece async for piece in file])


async def test_a_file_is_counted_and_hashed_as_it_passes() -> None:
    file = FileStream("a.txt", pieces(b"ab", b"", b"c"), size=3)
    assert await content_of(file) == b"abc"
    assert (file.received, file.whole, file.sha256) == (3, True, hashlib.sha256(b"abc").hexdigest())


async def test_there_is_no_checksum_of_half_a_file() -> None:
    file = FileStream("a.txt", pieces(b"ab", b"c"))
    async for _ in file:
        break
    with pytest.raises(HubError, match="before all of it"):
        _ = file.sha256


@pytest.mark.parametrize("announced", [2, 4])
async def test_another_number_of_bytes_than_announced_is_no_file(announced: int) -> None:
    file = FileStream("a.txt", pieces(b"abc"), size=announced)
    with pytest.raises(BadAnswer, match=rf"3 bytes came; {announced} were announced"):
        await content_of(file)
    assert not file.whole


async def test_a_file_is_read_once() -> None:
    file = FileStream("a.txt", pieces(b"abc"))
    await content_of(file)
    with pytest.raises(HubError, match="begins with a new download"):
        await content_of(file)


def test_limits_speak_before_anything_leaves_where_the_size_is_known() -> None:
    with pytest.raises(FileRefused, match=r"WeCom takes files of 5 to 10 bytes; 'a.txt' has 11") as caught:
        FileStream("a.txt", pieces(), size=11).bounded(10, "WeCom", least=5)
    assert not caught.value.retryable
    with pytest.raises(FileRefused, match="has 4"):
        FileStream("a.txt", pieces(), size=4).bounded(10, "WeCom", least=5)
    assert FileStream("a.txt", pieces(), size=10).bounded(10, "WeCom", least=5).size == 10


async def test_a_file_of_unknown_size_meets_the_limit_as_it_passes() -> None:
    file = FileStream("a.txt", pieces(b"12345", b"678"), most=100).bounded(7, "WeCom")
    with pytest.raises(FileRefused, match="more than the 7 bytes"):
        await content_of(file)


async def test_a_repr_shows_no_content() -> None:
    file = FileStream("a.txt", pieces(b"private"))
    await content_of(file)
    assert "private" not in repr(file)


@pytest.mark.parametrize("size", [6, None])
async def test_a_form_carries_the_file_and_its_size_where_known(size: int | None) -> None:
    name = 'a "b" 报价.pdf'
    file = FileStream(name, pieces(b"123", b"\r\n4"), type="application/pdf", size=size)
    form = multipart(file, field="media", values={"type": "file"}, announce="filelength")
    body = b"".join([piece async for piece in form.content])
    assert form.headers.get("Content-Length") == (str(len(body)) if size else None)
    plain, media = form_parts(form.headers["Content-Type"], body)
    assert (plain.name, plain.content) == ("type", b"file")
    assert (media.name, media.filename, media.type, media.content) == ("media", name, "application/pdf", b"123\r\n4")
    assert media.parameters.get("filelength") == ("6" if size else None)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1"),
        ("multipart/form-data; boundary=x", b"--x\r\nno blank line\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\n1\r\n--x--"),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(ValueError):
        form_parts(kind, body)


@pytest.mark.parametrize("length", [10, 3_000_000])
async def test_a_file_gets_its_size_where_the_vendor_wants_it_first(length: int) -> None:
    content = b"x" * length
    first = FileStream("a.bin", pieces(content[:7], content[7:]), type="image/png")
    async with sized(first) as file:
        assert (file.name, file.type, file.size) == ("a.bin", "image/png", length)
        assert await content_of(file) == content
        assert file.sha256 == first.sha256
    known = FileStream("a.bin", pieces(content), size=length)
    async with sized(known) as file:
        assert file is known


async def test_a_broken_file_gets_no_size() -> None:
    file = FileStream("a.bin", pieces(b"12345678"), most=5)
    with pytest.raises(FileRefused):
        async with sized(file):
            pytest.fail("a file over its limit was given on")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.pdf"', "a b.pdf"),
        ("attachment; filename*=UTF-8''%E6%8A%A5%E4%BB%B7.pdf", "报价.pdf"),
        ('attachment; filename="%E6%8A%A5%E4%BB%B7.pdf"', "报价.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\temp\\\\a.pdf"', "a.pdf"),
        ("attachment", "file"),
        ("", "file"),
        (';;;="', "file"),
    ],
)
@respx.mock
async def test_a_download_is_named_by_its_answer(http: Http, disposition: str, name: str) -> None:
    headers = {"Content-Disposition": disposition, "Content-Type": "application/pdf; charset=binary"}
    respx.get(f"{BASE}/file").mock(return_value=httpx.Response(200, headers=headers, content=b"abc"))
    async with http.stream("GET", "/file") as answer:
        file = file_of(answer)
        assert (file.name, file.type, file.size) == (name, "application/pdf", 3)
        assert await content_of(file) == b"abc"


@respx.mock
async def test_a_stream_may_turn_out_to_be_an_ordinary_answer(http: Http) -> None:
    respx.get(f"{BASE}/file").mock(return_value=httpx.Response(200, json={"errcode": 40007}))
    async with http.stream("GET", "/file") as answer:
        assert (await answer.whole()).json() == {"errcode": 40007}


@respx.mock
async def test_an_ordinary_answer_on_a_stream_has_the_ordinary_limit(http: Http) -> None:
    respx.get(f"{BASE}/file").mock(return_value=httpx.Response(200, content=b"x" * 1001))
    async with http.stream("GET", "/file") as answer:
        with pytest.raises(BadAnswer, match="more than 1000 bytes"):
            await answer.whole()


@respx.mock
async def test_a_compressed_answer_does_not_tell_the_files_size(http: Http) -> None:
    headers = {"Content-Encoding": "identity", "Content-Length": "3"}
    respx.get(f"{BASE}/file").mock(return_value=httpx.Response(200, headers=headers, content=b"abc"))
    async with http.stream("GET", "/file") as answer:
        assert answer.size is None


@respx.mock
async def test_a_stream_that_breaks_off_is_a_typed_failure_without_secrets(http: Http) -> None:
    answer = httpx.Response(200, content=broken(b"abc"))
    respx.get(url__startswith=f"{BASE}/file/s3cret").mock(return_value=answer)
    with pytest.raises(TransportFailure) as caught:
        async with http.stream("GET", "/file/s3cret?token=s3cret") as found:
            await content_of(file_of(found))
    assert caught.value.sent
    assert "s3cret" not in str(caught.value)


@respx.mock
async def test_a_stream_that_never_begins_says_that_it_never_left(http: Http) -> None:
    respx.get(f"{BASE}/file").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(TransportFailure) as caught:
        async with http.stream("GET", "/file"):
            pytest.fail("there is no answer")
    assert not caught.value.sent


@respx.mock
async def test_what_the_source_of_an_upload_raises_is_raised(http: Http) -> None:
    async def read(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return httpx.Response(200)

    respx.post(f"{BASE}/upload").mock(side_effect=read)
    form = multipart(FileStream("a.txt", pieces(b"abc"), size=9))
    with pytest.raises(BadAnswer, match="3 bytes came"):
        await http.send("POST", "/upload", content=form.content, headers=form.headers)
