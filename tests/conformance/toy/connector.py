"""The connector of the made-up vendor: what a small, correct connector looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, Field, SecretStr

from hub.connector.catalogue import parse_catalogue
from hub.connector.codes import ErrorTable, Verdict, parse_rules
from hub.connector.contract import (
    Cursor,
    Event,
    FindAnswer,
    Finding,
    GetAnswer,
    GetKind,
    Level,
    Manifest,
    ObjectInfo,
    Op,
    Page,
    ReadRequest,
    Received,
    Reply,
    WebhookRefused,
    WebhookRequest,
    Write,
)
from hub.connector.files import FileStream, file_of, multipart
from hub.connector.http import BadAnswer, Response, TransportFailure, repeat
from hub.connector.kit import Kit
from hub.connector.tokens import Token
from hub.connector.webhook import hmac_sha256, read_json, require_recent, same
from hub.domain.errors import CredentialsRefused, HubError, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Change, ChangeKind, Fields, Record, Value
from hub.domain.schema import ObjectSchema

T = TypeVar("T")

_CATALOGUE = """
note:
  label: Note
  id: id
  title: code
  number: code
  modified: changed
  can: [create, update, delete, sees_deletes, webhooks, files]
  steps: [publish]
  batch: {write: 3, get: 10, find: 10}
  settles_within: 2
  fields:
    id: text readonly | Id
    code: text required unique length=60 | Code
    body: text length=40 | Text
    amount: money scale=2 | Amount
    paper: file | Paper
    state: enum options=draft:Draft,published:Published readonly | State
    changed: datetime wire=epoch_ms computed | Changed
line:
  label: Line
  master: note
  master_field: note
  fields:
    id: text readonly | Id
    note: reference reference=note | Note
    text: text | Text
"""
_ERRORS = """
- {code: E01, kind: not_executed, hint: check the secret}
- {code: E02, kind: not_executed, retry: token}
- {code: E10, kind: rejected}
- {code: E11, kind: rejected}
- {code: E20, kind: duplicate}
- {code: E30, kind: gone}
- {code: "429", kind: not_executed, retry: wait}
"""
_LAG = 1000  # ms behind the clock that a read stays, so that no stamp comes in behind its cursor


class ToySettings(BaseModel):
    url: str = Field(description="where the toy answers")
    secret: SecretStr = Field(description="the log-in")
    hook_secret: SecretStr = Field(description="what webhooks are signed with")


class ToyConnector:
    manifest: ClassVar[Manifest] = Manifest(
        "toy", "Nobody", "Toy", "1", "https://example.org/toy", Level.SILVER, ToySettings
    )

    def __init__(self, settings: ToySettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        secrets = (settings.secret.get_secret_value(), settings.hook_secret.get_secret_value())
        self._http = kit.http(settings.url, secrets=secrets, timeout=10.0)
        self._tokens = kit.token_source("toy", self._login, early=60)
        self._catalogue = parse_catalogue(_CATALOGUE)
        self._errors = ErrorTable(parse_rules(_ERRORS))

    async def check(self) -> list[Finding]:
        try:
            return [Finding(f"reached {await self.fingerprint()}", ok=True)]
        except HubError as error:
            return [Finding(error.message, ok=False, hint=error.hint or "look at the toy's own log")]

    async def fingerprint(self) -> str:
        return str((await self._ask("/me", {}))["tenant"])

    async def objects(self) -> list[ObjectInfo]:
        return [ObjectInfo(schema.name, schema.label) for schema in self._catalogue.values()]

    async def describe(self, object: str) -> ObjectSchema:
        return self._catalogue.schema(object)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        asked = self._kit.clock.now()
        after = (cursor or {}).get("after")
        if request.full:
            body = {"by": "id", "after": after}
        else:
            start = [request.since, ""] if request.since is not None else None
            body = {"by": "changed", "after": after or start, "until": asked - _LAG}
        notes = (await self._ask("/list", body))["notes"]
        more = len(notes) == 5
        if notes:
            after = notes[-1]["id"] if request.full else [notes[-1]["changed"], notes[-1]["id"]]
        changes = [self._change(note) for note in notes]
        now = self._kit.clock.now()
        return Page(changes, {"after": after}, more, asked, now, complete=request.full and not more)

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        asked = self._kit.clock.now()
        found: dict[str, Record] = {}
        for part in _parts(list(dict.fromkeys(ids)), 10):
            answered = (await self._ask("/get", {"ids": part}))["notes"]
            found |= {note["id"]: self._record(note) for note in answered}
        now = self._kit.clock.now()
        return [GetAnswer(id, GetKind.FOUND if id in found else GetKind.GONE, found.get(id), asked, now) for id in ids]

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {master: [] for master in masters}
        for line in (await self._ask("/lines", {"notes": list(masters)}))["lines"]:
            found[line["note"]].append(Record("line", line["id"], line))
        return found

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        by_code: dict[str, list[Record]] = {}
        for part in _parts([key["code"] for key in keys if key["code"]], 10):
            for note in (await self._ask("/find", {"codes": part}))["notes"]:
                by_code.setdefault(note["code"], []).append(self._record(note))
        return [FindAnswer(by_code.get(key["code"], [])) for key in keys]

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for part in _parts(list(batch), 3):
            saves = [write for write in part if write.op in (Op.CREATE, Op.UPDATE) and "save" not in write.done]
            saved = iter(await self._save(saves) if saves else [])
            for write in part:
                if write.op is Op.OPERATION:
                    failure = Failure(f"the toy knows no operation '{write.operation}'")
                    outcomes.append(Outcome(OutcomeKind.REJECTED, failure=failure))
                elif write.op is Op.DELETE:
                    outcomes.append(await self._step("/remove", str(write.id), write.timeout))
                else:
                    done = Outcome(OutcomeKind.OK, id=write.id) if "save" in write.done else next(saved)
                    outcomes.append(await self._publish(write, done))
        return outcomes

    @asynccontextmanager
    async def download(self, object: str, id: str, field: str, file: Value) -> AsyncIterator[FileStream]:
        token = await self._tokens.token()
        async with self._http.stream("GET", f"/file/{file}", headers=_bearer(token)) as answer:
            if answer.status != 200:
                self._answer(await answer.whole())
            yield file_of(answer)

    async def upload(self, object: str, field: str, file: FileStream) -> Value:
        form = multipart(file.bounded(1_000_000, "the toy"))
        headers = {**_bearer(await self._tokens.token()), **form.headers}
        response = await self._http.send("POST", "/upload", content=form.content, headers=headers)
        answered = self._answer(response)
        if not isinstance(answered.get("file"), str):
            raise BadAnswer(f"{response.where} answered without a file: {response.excerpt()}")
        return str(answered["file"])

    def receive(self, request: WebhookRequest) -> Received:
        at, sign = request.headers.get("x-toy-at", ""), request.headers.get("x-toy-sign", "")
        expected = hmac_sha256(self._settings.hook_secret.get_secret_value(), f"{at}.".encode() + request.body).hex()
        if not same(sign, expected):
            raise WebhookRefused("its signature is not ours")
        require_recent(int(at), request.received)
        body = read_json(request.body)
        return Received([Event("note", body["note"], at=body["at"])], Reply(), dedupe=sign)

    async def _save(self, writes: Sequence[Write]) -> list[Outcome]:
        records = [{"id": write.id, "fields": write.fields} for write in writes]
        answered = await self._send("/save", {"records": records}, min(write.timeout for write in writes))
        if isinstance(answered, Outcome):
            return [answered] * len(writes)
        return [
            Outcome(OutcomeKind.OK, id=result["id"]) if "id" in result else self._judge(result).outcome(result["error"])
            for result in answered["results"]
        ]

    async def _publish(self, write: Write, saved: Outcome) -> Outcome:
        if not saved.ok or "publish" not in write.steps or "publish" in write.done:
            return saved
        step = await self._step("/publish", str(saved.id), write.timeout)
        if step.ok:
            return Outcome(OutcomeKind.OK, id=saved.id, steps=("save", "publish"))
        return Outcome(OutcomeKind.PARTLY, id=saved.id, steps=("save",), failure=step.failure)

    async def _step(self, path: str, id: str, timeout: float) -> Outcome:
        answered = await self._send(path, {"id": id}, timeout)
        return answered if isinstance(answered, Outcome) else Outcome(OutcomeKind.OK, id=id)

    async def _send(self, path: str, body: dict[str, Any], timeout: float) -> dict[str, Any] | Outcome:
        """Send a write once; what is not an answer is already its outcome."""
        try:
            token = await self._tokens.token()
        except HubError as error:
            return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure(error.message))
        try:
            response = await self._http.send("POST", path, json=body, headers=_bearer(token), timeout=timeout)
            if response.status == 429:
                failure = Failure("throttled", code="429")
                return Outcome(OutcomeKind.NOT_EXECUTED, failure=failure, retry_after=response.retry_after)
            if response.status >= 500:
                return Outcome(OutcomeKind.UNKNOWN, failure=Failure(f"{response.status}: {response.excerpt()}"))
            answered: dict[str, Any] = response.json()
        except (TransportFailure, BadAnswer) as error:
            return error.outcome()
        if "error" not in answered:
            return answered
        if response.status == 401:
            await self._tokens.invalidate(token)
        return self._judge(answered).outcome(answered["error"])

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Read, as often as it is worth it."""

        async def once() -> dict[str, Any]:
            token = await self._tokens.token()
            response = await self._http.send("POST", path, json=body, headers=_bearer(token))
            if response.status == 401:
                await self._tokens.invalidate(token)
                raise VendorError("the token is not valid any more", code="E02")
            return self._answer(response)

        return await repeat(once, sleep=self._kit.sleep)

    def _answer(self, response: Response) -> dict[str, Any]:
        if response.status == 429 or response.status >= 500:
            raise VendorError(
                f"{response.where} answered {response.status}: {response.excerpt()}", retry_after=response.retry_after
            )
        answered: dict[str, Any] = response.json()
        if "error" in answered:
            raise self._judge(answered).error(answered["error"])
        return answered

    async def _login(self) -> Token:
        response = await self._http.read("POST", "/login", json={"secret": self._settings.secret.get_secret_value()})
        if response.status == 401:
            raise CredentialsRefused("the toy refuses the secret", hint="set `secret` to the one that the toy shows")
        answered = self._answer(response)
        self._http.hide(answered["token"])
        return Token(answered["token"], self._kit.clock.now() + int(float(answered["seconds"]) * 1000))

    def _judge(self, answered: Mapping[str, Any]) -> Verdict:
        message = str(answered["error"])
        return self._errors.judge(message.split()[0], message)

    def _change(self, note: Fields) -> Change:
        return Change(self._record(note), ChangeKind.DELETED if note.get("deleted") else ChangeKind.SAVED)

    def _record(self, note: Fields) -> Record:
        fields = {name: note.get(name) for name in self._catalogue["note"].fields}
        return Record("note", str(note["id"]), fields, modified=int(str(note["changed"])))


def _bearer(token: Token) -> dict[str, str]:
    return {"authorization": f"Bearer {token.value}"}


def _parts(whole: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
