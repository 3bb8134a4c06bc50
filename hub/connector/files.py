"""A file on its way from one system to another: bytes in pieces, counted and hashed as they pass."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import IO
from urllib.parse import unquote

from hub.connector.http import BadAnswer, Streamed
from hub.domain.errors import HubError, VendorError

_IN_MEMORY = 1024 * 1024  # bytes of a file of unknown size that stay in memory before it goes to disk
_PIECE = 64 * 1024


class FileRefused(VendorError):
    """A file that can't be carried as it is: too large, too small, of a type that is not taken. Nothing helps but
    another file."""

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, code=code, retryable=False, hint=hint)


class FileStream:
    """One file, to be read once: `async for piece in file`.

    `name` is what people call it; `type` its media type and `size` its length in bytes, where the sender says so. When
    it has passed, `received` is the number of bytes that came and `sha256` their checksum in hex. Reading raises what
    the sender's connection raises; BadAnswer when fewer or more bytes came than `size` says, so that a file that was
    cut off is never taken for whole; FileRefused when more than `most` bytes come.
    """

    def __init__(
        self,
        name: str,
        pieces: AsyncIterable[bytes],
        *,
        type: str | None = None,
        size: int | None = None,
        most: int | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.size = size
        self.received = 0
        self.whole = False
        self._pieces = pieces
        self._most = most
        self._hash = hashlib.sha256()
        self._begun = False

    @property
    def sha256(self) -> str:
        """The checksum. Raises HubError before the whole file has passed."""
        if not self.whole:
            raise HubError(f"the file {self.name!r} has no checksum before all of it has passed")
        return self._hash.hexdigest()

    def bounded(self, most: int, taker: str, *, least: int = 0) -> FileStream:
        """The same file for a taker with limits in bytes. Raises FileRefused at once where the size is known."""
        if self.size is not None and not least <= self.size <= most:
            raise FileRefused(
                f"{taker} takes files of {least} to {most} bytes; {self.name!r} has {self.size}",
                hint="put a smaller file into the record" if self.size > most else "the file is empty or nearly so",
            )
        self._most = most if self._most is None else min(most, self._most)
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._begun:
            raise HubError(f"the file {self.name!r} was read already; a broken transfer begins with a new download")
        self._begun = True
        return self._counted()

    async def _counted(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            self.received += len(piece)
            if self._most is not None and self.received > self._most:
                raise FileRefused(f"the file {self.name!r} has more than the {self._most} bytes that are taken")
            self._hash.update(piece)
            yield piece
        if self.size is not None and self.received != self.size:
            raise BadAnswer(f"of the file {self.name!r} {self.received} bytes came; {self.size} were announced")
        self.whole = True

    def __repr__(self) -> str:
        return f"FileStream({self.name!r}, type={self.type!r}, size={self.size})"


def file_of(answer: Streamed, *, name: str | None = None, most: int | None = None) -> FileStream:
    """The file that an answer carries, by its Content-Disposition, Content-Type and Content-Length."""
    found = _disposed(answer.headers.get("content-disposition", ""))
    type = answer.headers.get("content-type", "").partition(";")[0].strip() or None
    return FileStream(name or found or "file", answer.pieces(), type=type, size=answer.size, most=most)


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart form on its way: what `Http.send` takes as `content` and `headers`."""

    headers: Mapping[str, str]
    content: AsyncIterable[bytes]


def multipart(
    file: FileStream, *, field: str = "file", values: Mapping[str, str] | None = None, announce: str | None = None
) -> Multipart:
    """A form with plain `values` and the file under `field` (RFC 7578, names as browsers write them).

    Where the file's size is known, the form's is sent too; else it goes in chunks. `announce` names a parameter of the
    file's Content-Disposition that carries its size, for vendors that want one (`filelength`).
    """
    boundary = secrets.token_hex(16)
    length = f"; {announce}={file.size}" if announce is not None and file.size is not None else ""
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in (values or {}).items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(field)}"; filename="{_quoted(file.name)}"'
        f"{length}\r\nContent-Type: {file.type or 'application/octet-stream'}\r\n\r\n"
    )
    first, last = head.encode(), f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    if file.size is not None:
        headers["Content-Length"] = str(len(first) + file.size + len(last))

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for piece in file:
            yield piece
        yield last

    return Multipart(headers, content())


@contextlib.asynccontextmanager
async def sized(file: FileStream) -> AsyncIterator[FileStream]:
    """The same file with its size known, for vendors that must be told first.

    One that tells its size passes as it is; another rests meanwhile in memory, and on disk when it is larger than a
    megabyte. Its own checksum and limits hold as it is taken in.
    """
    if file.size is not None:
        yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as kept:
        async for piece in file:
            await asyncio.to_thread(kept.write, piece)
        await asyncio.to_thread(kept.seek, 0)
        yield FileStream(file.name, _read(kept), type=file.type, size=file.received)


async def _read(kept: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(kept.read, _PIECE):
        yield piece


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _disposed(disposition: str) -> str | None:
    """The file's name in a Content-Disposition, without any path that came along."""
    if not disposition:
        return None
    message = EmailMessage()
    try:
        message["Content-Disposition"] = disposition.replace("\r", " ").replace("\n", " ")
        name = message.get_filename()
    except (ValueError, IndexError):
        return None  # a header that can't be read names no file
    if not name:
        return None
    # Several vendors send the percent-encoded name in the plain parameter.
    plain = unquote(name) if "%" in name else name
    return plain.replace("\\", "/").rpartition("/")[2] or None
