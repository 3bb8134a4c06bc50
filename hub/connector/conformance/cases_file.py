"""Conformance: files that travel as streams."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import cast

from hub.connector.conformance.bench import Bench, must
from hub.connector.contract import HasFiles, Op, Write
from hub.connector.faults import FaultKind
from hub.connector.files import FileStream
from hub.domain.errors import Unreachable, VendorError
from hub.domain.record import Value

_NAME = "报价单 v2.pdf"
_TYPE = "application/pdf"
_CONTENT = b"%PDF-1.7\r\n--boundary\r\n" + bytes(range(256)) * 700  # what would break a form that takes it for text


async def files_come_back_byte_for_byte(bench: Bench) -> None:
    """Where the connector has files, one that was uploaded and written MUST come back with its name, size and bytes."""
    files = bench.files()
    if files is None:
        return
    for n, size in enumerate((len(_CONTENT), None)):
        id, value = await _written(bench, files, n, size)
        async with files.download(bench.object, id, bench.harness.file, value) as file:
            must(file.name == _NAME, f"a file came back as {file.name!r}")
            must(file.size in (None, len(_CONTENT)), f"a file of {len(_CONTENT)} bytes says that it has {file.size}")
            content = b"".join([piece async for piece in file])
        must(content == _CONTENT, "a file came back with other bytes")
        must(file.sha256 == hashlib.sha256(_CONTENT).hexdigest(), "a file came back with another checksum")


async def broken_downloads_are_no_files(bench: Bench) -> None:
    """A download that fails or breaks off MUST raise, and never end as a shorter or another file."""
    files = bench.files()
    if files is None:
        return
    id, value = await _written(bench, files, 0, len(_CONTENT))
    for kind in (FaultKind.TRUNCATED, FaultKind.RESET, FaultKind.HTTP_500, FaultKind.THROTTLE):
        bench.simulator.faults.clear()
        bench.arm(kind, bench.harness.download_op, times=None)
        try:
            async with files.download(bench.object, id, bench.harness.file, value) as file:
                content = b"".join([piece async for piece in file])
        except (Unreachable, VendorError) as error:
            bench.show(error)
        else:
            must(False, f"a download that met {kind} brought a file of {len(content)} bytes")


async def failing_uploads_raise_typed_errors(bench: Bench) -> None:
    """An upload that gets no good answer MUST raise an Unreachable or a VendorError, and be sent once."""
    files = bench.files()
    if files is None:
        return
    await bench.connector.fingerprint()
    for kind in (FaultKind.RESET, FaultKind.HTTP_500, FaultKind.MALFORMED, FaultKind.TRUNCATED, FaultKind.ECHO):
        before = bench.harness.sends(bench.simulator, bench.harness.upload_op)
        bench.simulator.faults.clear()
        bench.arm(kind, bench.harness.upload_op, times=None)
        try:
            await files.upload(bench.object, bench.harness.file, _file(len(_CONTENT)))
        except (Unreachable, VendorError) as error:
            bench.show(error)
        else:
            must(False, f"an upload that met {kind} ended well")
        sent = bench.harness.sends(bench.simulator, bench.harness.upload_op) - before
        must(sent == 1, f"an upload that met {kind} was sent {sent} times")


async def _written(bench: Bench, files: HasFiles, n: int, size: int | None) -> tuple[str, Value]:
    """A record with a file: its id, and the field's value as a read gives it (of several files: the first)."""
    field = (await bench.schema()).fields[bench.harness.file]
    sent = await files.upload(bench.object, field.name, _file(size))
    value: Value = [sent] if field.many else sent
    (outcome,) = await bench.write([Write(Op.CREATE, fields={**bench.harness.sample(n), field.name: value})])
    must(outcome.ok, f"a create with a file ended as {outcome.kind}: {outcome.failure}")
    found = (await bench.got(str(outcome.id))).fields.get(field.name)
    must(found, "a record that was written with a file has none")
    return str(outcome.id), cast("list[Value]", found)[0] if field.many else found


def _file(size: int | None) -> FileStream:
    return FileStream(_NAME, _pieces(), type=_TYPE, size=size)


async def _pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(_CONTENT), 50_000):
        yield _CONTENT[start : start + 50_000]
