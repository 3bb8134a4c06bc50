"""A made-up vendor, just large enough to meet every case: notes, tokens, batches, steps, tombstones, webhooks."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hub.connector.forms import FormPart, form_parts
from hub.connector.simulator import Simulator, answer
from hub.connector.table import Row, Table
from hub.connector.webhook import hmac_sha256

_TOKEN_LIFE = 3600.0
_MOST = 5  # records a page
_LONGEST = 40  # characters of a body


class ToySimulator(Simulator):
    """Notes with a unique code, over HTTP with a bearer token."""

    def __init__(self) -> None:
        super().__init__()
        self.secret = "s3cret/of the toy"
        self.hook_secret = "hook-secret-of-the-toy"
        self.issued: list[str] = []
        self.files: dict[str, FormPart] = {}
        self._valid: dict[str, float] = {}
        self._last = 0
        self.tables["note"] = Table(indexed=("code",), ordered=("changed",))
        self.tables["line"] = Table(indexed=("note",))

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/login", self._login, methods=["POST"]),
            Route("/me", self._me, methods=["POST"]),
            Route("/list", self._list, methods=["POST"]),
            Route("/get", self._get, methods=["POST"]),
            Route("/find", self._find, methods=["POST"]),
            Route("/lines", self._lines, methods=["POST"]),
            Route("/save", self._save, methods=["POST"]),
            Route("/publish", self._publish, methods=["POST"]),
            Route("/remove", self._remove, methods=["POST"]),
            Route("/upload", self._upload, methods=["POST"]),
            Route("/file/{id}", self._file, methods=["GET"]),
        ]

    def op_of(self, method: str, path: str, body: bytes) -> str:
        return path[1:].partition("/")[0]

    def settings(self) -> dict[str, Any]:
        return {"url": self.base_url, "secret": self.secret, "hook_secret": self.hook_secret}

    def expire_tokens(self) -> None:
        self._valid.clear()

    async def change(self, change: Mapping[str, Any]) -> dict[str, Any]:
        id = change.get("id")
        if change["op"] == "delete":
            self.tombstone(str(id))
        else:
            id = self.put(None if id is None else str(id), change["fields"], actor=change.get("actor", "person"))
        return {"id": id}

    def put(self, id: str | None, fields: Row, *, actor: str = "api") -> str:
        """Create or change a note by the vendor's rules. Raises ValueError with the refusal."""
        before = None if id is None else self.table("note").get(id)
        row = {
            "id": id,
            "body": None,
            "amount": None,
            "paper": None,
            "state": "draft",
            "deleted": False,
            **(before or {}),
            **fields,
        }
        if not row.get("code"):
            raise ValueError("E10 code is required")
        if any(other["id"] != id for other in self.table("note").equal("code", row["code"]) if not other["deleted"]):
            raise ValueError("E20 code exists already")
        if len(row["body"] or "") > _LONGEST:
            raise ValueError("E11 body is too long")
        if before is None:
            self._last += 1
            id = row["id"] = f"n{self._last:08d}"
            self.commit("create", "line", f"{id}-1", {"id": f"{id}-1", "note": id, "text": "first"}, actor=actor)
        row["changed"] = self.stamp()
        self.commit("update" if before else "create", "note", str(id), row, actor=actor)
        return str(id)

    def tombstone(self, id: str) -> None:
        row = self.table("note").get(id)
        if row is not None:
            self.commit("delete", "note", id, {**row, "deleted": True, "changed": self.stamp()}, actor="person")

    def hook(self, id: str, at: int) -> tuple[bytes, dict[str, str]]:
        body = orjson.dumps({"note": id, "at": at})
        sign = hmac_sha256(self.hook_secret, f"{at}.".encode() + body).hex()
        return body, {"x-toy-at": str(at), "x-toy-sign": sign}

    async def _login(self, request: Request) -> Response:
        self.counts["login-tried"] += 1
        given = await request.json()
        if given.get("secret") != self.secret:
            return _no("E01 wrong secret", 401)
        token = f"token {secrets.token_hex(8)}"
        self.issued.append(token)
        self._valid[token] = self.clock.monotonic() + _TOKEN_LIFE
        return answer({"token": token, "seconds": _TOKEN_LIFE})

    async def _me(self, request: Request) -> Response:
        return self._refusal(request) or answer({"tenant": "toy-town"})

    async def _list(self, request: Request) -> Response:
        """{by: changed|id, after: [changed, id] | id, until}: at most five notes, strictly after that place."""
        if refusal := self._refusal(request):
            return refusal
        given = await request.json()
        after = given.get("after")
        table = self.table("note")
        if given["by"] == "id":
            rows = (row for row in table.after(after) if not row["deleted"])
        else:
            changed, id = after or (0, "")
            found = table.between("changed", changed, given["until"])
            rows = (row for row in found if (row["changed"], row["id"]) > (changed, id))
        return answer({"notes": [self._sight(row) for row in islice(rows, _MOST)]})

    async def _get(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        rows = [self.shown("note", id) for id in (await request.json())["ids"][:10]]
        return answer({"notes": [self._sight(row) for row in rows if row and not row["deleted"]]})

    async def _find(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        rows = [row for code in (await request.json())["codes"][:10] for row in self.table("note").equal("code", code)]
        seen = [row for row in rows if not row["deleted"] and self.findable("note", row["id"])]
        return answer({"notes": [self._sight(row) for row in seen]})

    async def _lines(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        notes = (await request.json())["notes"]
        return answer({"lines": [row for note in notes for row in self.table("line").equal("note", note)]})

    async def _save(self, request: Request) -> Response:
        """{records: [{id?, fields}]}, three at most: {results: [{id} | {error}]}."""
        if refusal := self._refusal(request):
            return refusal
        results: list[dict[str, Any]] = []
        for record in (await request.json())["records"][:3]:
            id = record.get("id")
            row = None if id is None else self.table("note").get(id)
            if id is not None and (row is None or row["deleted"]):
                results.append({"error": "E30 no such note"})
                continue
            try:
                results.append({"id": self.put(id, record["fields"])})
            except ValueError as error:
                results.append({"error": str(error)})
        return answer({"results": results})

    async def _publish(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        id = (await request.json())["id"]
        self.put(id, {"state": "published"})
        return answer({"id": id})

    async def _remove(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        id = (await request.json())["id"]
        row = self.table("note").get(id)
        if row is None or row["deleted"]:
            return _no("E30 no such note", 404)
        self.tombstone(id)
        return answer({"id": id})

    async def _upload(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        (part,) = form_parts(request.headers["content-type"], await request.body())
        id = f"f{len(self.files) + 1}"
        self.files[id] = part
        return answer({"file": id})

    async def _file(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        part = self.files.get(request.path_params["id"])
        if part is None:
            return _no("E30 no such file", 404)
        disposition = f"attachment; filename*=UTF-8''{quote(part.filename or '')}"
        return Response(part.content, media_type=part.type, headers={"Content-Disposition": disposition})

    def _refusal(self, request: Request) -> Response | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return None if self._valid.get(token, 0) > self.clock.monotonic() else _no("E02 token is not valid", 401)

    def _sight(self, row: Row) -> Row:
        """Like many a vendor, the toy leaves out what is empty, and shows amounts as numbers."""
        seen = {name: value for name, value in row.items() if value is not None}
        if row["amount"] is not None:
            seen["amount"] = float(row["amount"])
        return seen


def _no(message: str, status: int) -> Response:
    return answer({"error": message}, status)
