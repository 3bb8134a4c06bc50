"""Attachments: up into the organisation's approval space in three calls, down by an address that opens for a while."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from connectors.dingtalk.client import Answered, Call, DingTalkClient, Refusal, old
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.files import FileRefused, FileStream, file_of, sized
from hub.connector.http import BadAnswer
from hub.domain.errors import CredentialsRefused, NotFound, VendorError
from hub.domain.record import Value

_LARGEST = 1024 * 1024 * 1024  # bytes; (unconfirmed) the vendor publishes no limit for one upload without parts
_INSTANCES = "/v1.0/workflow/processInstances"
_GONE = frozenset({"fileNotExist", "processInstanceNotExist"})


class Attachments:
    """Files of approvals, in the name of one member (`file_user`)."""

    def __init__(self, settings: DingTalkSettings, client: DingTalkClient) -> None:
        self._settings = settings
        self._client = client
        self._space: tuple[str, str] | None = None  # space id, union id of the member

    @contextlib.asynccontextmanager
    async def download(self, id: str, file: Value) -> AsyncIterator[FileStream]:
        """Open one attachment of one instance. Raises as `HasFiles.download`."""
        if not isinstance(file, dict) or not file.get("fileId"):
            raise NotFound("the attachment has no fileId", hint="give the value as the approval shows it")
        body = {"processInstanceId": id, "fileId": str(file["fileId"])}
        call = Call("file_url", "POST", f"{_INSTANCES}/spaces/files/urls/download", body)
        try:
            answered = await self._client.ask(call)
        except Refusal as refusal:
            raise _raised(refusal) from None
        address = (answered.result or {}).get("downloadUri")
        if not isinstance(address, str):
            raise BadAnswer("an attachment's address did not come")
        name, size = file.get("fileName"), str(file.get("fileSize") or "")
        async with self._client.http.stream("GET", address, timeout=self._settings.timeout) as streamed:
            if streamed.status != 200:
                answer = await streamed.whole()
                raise VendorError(
                    f"the space answered {answer.status}: {answer.excerpt()}",
                    code=str(answer.status),
                    retryable=answer.status >= 500 or answer.status == 429,
                )
            found = file_of(streamed, name=str(name) if name else None)
            if found.size is None and size.isdigit():
                found.size = int(size)
            yield found

    async def upload(self, file: FileStream) -> Value:
        """Put a file into the approval space. Returns what a form's attachment field takes."""
        space, member = await self._where()
        async with sized(file.bounded(_LARGEST, "the approval space", least=1)) as whole:
            path = f"/v1.0/storage/spaces/{space}/files"
            query = {"unionId": member}
            wanted = {"protocol": "HEADER_SIGNATURE", "multipart": False}
            info = (await self._sent(Call("upload_info", "POST", f"{path}/uploadInfos/query", wanted, query))).body
            signature = info.get("headerSignatureInfo") or {}
            addresses = signature.get("resourceUrls") or []
            if not addresses or not info.get("uploadKey"):
                raise BadAnswer("the space gave no address to upload to")
            await self._put(str(addresses[0]), signature.get("headers") or {}, whole)
            commit = {"uploadKey": info["uploadKey"], "name": file.name, "parentId": "0"}
            answered = await self._sent(Call("commit_file", "POST", f"{path}/commit", commit, query))
        entry = answered.body.get("dentry") or {}
        if not entry.get("id"):
            raise BadAnswer("the space took a file without telling its id")
        kind = str(entry.get("extension") or file.name.rpartition(".")[2])
        size = str(entry.get("size") or whole.received)
        return {
            "spaceId": str(entry.get("spaceId") or space),
            "fileName": file.name,
            "fileSize": size,
            "fileType": kind,
            "fileId": str(entry["id"]),
        }

    async def _put(self, address: str, headers: Mapping[str, Any], file: FileStream) -> None:
        sent = {str(name): str(value) for name, value in headers.items()}
        # An object store takes no chunks: the length is told, and no type, which would have to be signed as well.
        sent["Content-Length"] = str(file.size)
        answer = await self._client.http.send(
            "PUT", address, content=file, headers=sent, timeout=self._settings.timeout
        )
        if answer.status == 403:
            raise VendorError(f"the space refused the upload: {answer.excerpt()}", code="403")
        if answer.status != 200 or answer.body:
            raise BadAnswer(f"the space answered an upload with {answer.status}: {answer.excerpt()}")

    async def _where(self) -> tuple[str, str]:
        if self._settings.file_user is None or self._settings.agent_id is None:
            raise FileRefused("attachments need `file_user` and `agent_id` in the settings")
        if self._space is None:
            user = self._settings.file_user
            found = await self._client.read(old("v2_user_get", "/topapi/v2/user/get", {"userid": user}, free=True))
            body = {"userId": user, "agentId": self._settings.agent_id}
            space = await self._client.read(Call("space", "POST", f"{_INSTANCES}/spaces/infos/query", body))
            self._space = str((space.result or {}).get("spaceId")), str((found.result or {}).get("unionid"))
        return self._space

    async def _sent(self, call: Call) -> Answered:
        try:
            return await self._client.write(call, self._settings.timeout)
        except Refusal as refusal:
            raise _raised(refusal) from None


def _raised(refusal: Refusal) -> Exception:
    hint = refusal.verdict.hint
    if refusal.code in _GONE:
        return NotFound(refusal.message, hint=hint)
    if refusal.refuses_us:
        return CredentialsRefused(refusal.message, hint=hint)
    return refusal.verdict.error(refusal.message, code=refusal.code)
