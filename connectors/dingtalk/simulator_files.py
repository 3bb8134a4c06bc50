"""Attachments of approvals: the space that holds them, its two-step upload, and addresses that open for a while.

The calls are those of the vendor's storage API; that they are asked with `unionId`, and that the upload is a PUT with
signed headers, is from its public SDK, and was not seen live.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response

from connectors.dingtalk.simulator_gate import Denied
from hub.connector.simulator import Simulator

_SPACE = "163"
_STORE = "/_files/"


class Files:
    """Uploads under a key until they are committed; files by id afterwards."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._uploads: dict[str, bytes | None] = {}
        self._last = 640
        self.files: dict[str, tuple[str, bytes]] = {}  # file id -> name, content
        self._links: dict[str, str] = {}  # what an address ends with -> file id

    def op_of(self, method: str, path: str) -> str | None:
        if self.holds(path):
            return "put_file" if method == "PUT" else "download_file"
        if path.startswith("/v1.0/storage/spaces/"):
            return "commit_file" if path.endswith("/commit") else "upload_info"
        return None

    def holds(self, path: str) -> bool:
        return path.startswith(_STORE)

    def space(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if str(body.get("userId")) not in self._simulator.table("user"):
            raise Denied("invalidParameter", "userId不合法")
        return {"result": {"spaceId": int(_SPACE)}}

    def upload_info(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        self._permitted(path, query)
        key = secrets.token_urlsafe(12)
        self._uploads[key] = None
        signature = {
            "headers": {"Authorization": f"OSS {key}", "x-oss-date": "20260101T000000Z"},
            "resourceUrls": [f"{self._simulator.base_url}{_STORE}{key}"],
            "expirationSeconds": 900,
        }
        return {
            "uploadKey": key,
            "storageDriver": "DINGTALK",
            "protocol": "HEADER_SIGNATURE",
            "headerSignatureInfo": signature,
        }

    def commit(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
        self._permitted(path, query)
        content = self._uploads.pop(str(body.get("uploadKey")), None)
        name = str(body.get("name") or "")
        if content is None or not name:
            raise Denied("paramError", "uploadKey或name不合法")
        self._last += 1
        id = str(self._last)
        self.files[id] = (name, content)
        dentry = {"id": id, "spaceId": _SPACE, "name": name, "size": len(content)}
        return {"dentry": {**dentry, "extension": name.rpartition(".")[2]}}

    def url(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """An address for one file of one instance."""
        id = str(body.get("fileId"))
        if id not in self.files:
            raise Denied("fileNotExist", "文件不存在")
        link = secrets.token_urlsafe(12)
        self._links[link] = id
        address = f"{self._simulator.base_url}{_STORE}{link}"
        return {"result": {"spaceId": int(_SPACE), "fileId": id, "downloadUri": address}, "success": True}

    def carried(self, method: str, path: str, body: bytes, headers: Headers) -> Response:
        """The store behind the signed addresses."""
        key = path.removeprefix(_STORE)
        if method == "PUT":
            if key not in self._uploads or headers.get("authorization") != f"OSS {key}":
                return self.failed(403, "AccessDenied")
            self._uploads[key] = body
            return Response(b"", 200)
        id = self._links.get(key)
        if id is None:
            return self.failed(404, "NoSuchKey")
        name, content = self.files[id]
        disposition = f"attachment; filename*=utf-8''{quote(name)}"
        return Response(content, 200, {"Content-Disposition": disposition}, "application/octet-stream")

    def failed(self, status: int, code: str) -> Response:
        """The store's own form of an error."""
        return Response(f"<Error><Code>{code}</Code></Error>".encode(), status, media_type="application/xml")

    def _permitted(self, path: str, query: Mapping[str, str]) -> None:
        people = {row["unionid"] for row in self._simulator.table("user")}
        if f"/spaces/{_SPACE}/" not in path or query.get("unionId") not in people:
            raise Denied("permissionDenied", "无权限", status=403)
