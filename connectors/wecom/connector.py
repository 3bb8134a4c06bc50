"""The connector for WeCom (企业微信): it leads each object to its desk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from connectors.wecom.approvals import PREFIX as APPROVAL
from connectors.wecom.approvals import Approvals
from connectors.wecom.client import WeComClient
from connectors.wecom.customers import Contacts, GroupChats, Tags, Transfers
from connectors.wecom.desk import Desk
from connectors.wecom.messages import MESSAGE, ROBOT, AppMessages, Robots
from connectors.wecom.people import Departments, Members
from connectors.wecom.settings import WeComSettings
from connectors.wecom.webhook import receive
from hub.connector.catalogue import load_catalogue
from hub.connector.contract import (
    Cursor,
    FindAnswer,
    Finding,
    GetAnswer,
    Level,
    Manifest,
    ObjectInfo,
    Page,
    ReadRequest,
    Received,
    WebhookRequest,
    Write,
)
from hub.connector.files import FileStream
from hub.connector.kit import Kit
from hub.domain.errors import HubError, NotFound
from hub.domain.outcome import Outcome
from hub.domain.record import Record, Value
from hub.domain.schema import ObjectSchema

_FIXED = "a submitted approval can't be changed, by anybody's API: another round is another approval (once_per)"


class WeComConnector:
    """One self-built app of one company."""

    manifest: ClassVar[Manifest] = Manifest(
        name="wecom",
        vendor="企业微信 WeCom (Tencent)",
        title="WeCom",
        api="server API of self-built apps (企业内部开发); callbacks with msg_signature",
        docs="https://developer.work.weixin.qq.com/document/path/90664",
        level=Level.SILVER,
        settings=WeComSettings,
        exempt={
            "update_changes_what_was_sent": _FIXED,
            "unanswered_updates_are_unknown": _FIXED,
            "update_of_gone_is_gone": _FIXED,
            "empty_clears": _FIXED,
            "delete_removes": "the API has no call that deletes or withdraws an approval: people do",
            "steps_resume_where_they_stopped": "no object has steps that follow its creation",
            "children_answer_every_master": "rows come with their record; no object is the detail of another",
        },
    )

    def __init__(self, settings: WeComSettings, kit: Kit) -> None:
        self._settings = settings
        self._catalogue = load_catalogue(Path(__file__).with_name("objects.yaml"))
        self._client = WeComClient(settings, kit)

        def made(desk: type[Desk]) -> Desk:
            return desk(settings, kit, self._client, self._catalogue)

        self._approvals = Approvals(settings, kit, self._client, self._catalogue)
        messages, robots = made(AppMessages), made(Robots)
        self._desks: dict[str, Desk] = {
            "member": made(Members),
            "department": made(Departments),
            "external_contact": made(Contacts),
            "corp_tag": made(Tags),
            "group_chat": made(GroupChats),
            "transfer": made(Transfers),
            **{name: messages for name in self._catalogue if name.startswith(MESSAGE)},
            **{ROBOT + name: robots for name in settings.robots},
            **{APPROVAL + name: self._approvals for name in settings.templates},
        }

    async def check(self) -> list[Finding]:
        """Log in, see the address book, describe every template; every miss says what to do."""
        findings: list[Finding] = []

        async def probe(what: str, work: Callable[[], Awaitable[object]], hint: str) -> bool:
            try:
                await work()
            except HubError as error:
                findings.append(Finding(f"{what}: {error.message}", ok=False, hint=error.hint or hint))
                return False
            findings.append(Finding(what, ok=True))
            return True

        host = self._settings.base_url
        if not await probe(f"log in at {host}", self._client.log_in, "check base_url, corp_id and secret"):
            return findings
        await probe(
            "see departments",
            lambda: self._client.read("department/simplelist"),
            "give the app a visible range (可见范围)",
        )
        findings += [await self._check_template(APPROVAL + name) for name in sorted(self._settings.templates)]
        if self._settings.callback_token is None or self._settings.callback_aes_key is None:
            hint = "set callback_token and callback_aes_key to those of the app's 接收消息"
            findings.append(Finding("no callbacks: changes are polled alone", ok=False, hint=hint))
        return findings

    async def fingerprint(self) -> str:
        """The company's id, once its secret has proved right."""
        await self._client.log_in()
        return self._settings.corp_id

    async def objects(self) -> list[ObjectInfo]:
        infos = []
        for name in self._desks:
            custom = name.startswith((APPROVAL, ROBOT))
            label = self._robot(name).label if name.startswith(ROBOT) else (await self.describe(name)).label
            infos.append(ObjectInfo(name, label, custom))
        return infos

    async def describe(self, object: str) -> ObjectSchema:
        if object.startswith(ROBOT) and object in self._desks:
            return self._robot(object)
        return await self._desk(object).schema(object)

    def catalogue(self, object: str) -> ObjectSchema:
        if object.startswith(ROBOT):
            return self._robot(object)
        if object.startswith(APPROVAL):
            return self._approvals.known(object)
        return self._catalogue.schema(object)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        return await self._desk(request.object).read(await self.describe(request.object), request, cursor or {})

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        return await self._desk(object).get(await self.describe(object), ids, fields)

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        raise NotFound(f"{object} is not the detail of another object", hint="its rows come with the record itself")

    async def find(
        self, object: str, keys: Sequence[Mapping[str, object]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        return await self._desk(object).find(await self.describe(object), keys, fields)

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        if not batch:
            return []
        try:
            desk, schema = self._desk(object), await self.describe(object)
        except HubError as error:
            return [self._client.not_begun(error) for _ in batch]
        return await desk.each(batch, lambda write: desk.write(schema, write))

    def receive(self, request: WebhookRequest) -> Received:
        return receive(self._settings, request)

    @asynccontextmanager
    async def download(self, object: str, id: str, field: str, file: Value) -> AsyncIterator[FileStream]:
        if not object.startswith(APPROVAL):
            raise NotFound(f"{object} has no files")
        async with self._approvals.download(file) as found:
            yield found

    async def upload(self, object: str, field: str, file: FileStream) -> Value:
        if not object.startswith(APPROVAL):
            raise NotFound(f"{object} has no files")
        return await self._approvals.upload(await self.describe(object), field, file)

    def _desk(self, object: str) -> Desk:
        desk = self._desks.get(object)
        if desk is None:
            near = get_close_matches(object, self._desks, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(self._desks))}"
            raise NotFound(f"there is no object '{object}'", hint=hint)
        return desk

    def _robot(self, object: str) -> ObjectSchema:
        base = self._catalogue["robot"]
        return replace(base, name=object, label=f"{base.label} {object.removeprefix(ROBOT)}")

    async def _check_template(self, object: str) -> Finding:
        label = self._settings.stamp_label
        try:
            schema = await self.describe(object)
        except HubError as error:
            hint = error.hint or "check the template id, and let the app call the approval interfaces"
            return Finding(f"describe {object}: {error.message}", ok=False, hint=hint)
        if schema.capabilities.stamp_field is None:
            hint = f"add a text control titled {label} to the template: by it the hub finds what it started"
            return Finding(f"{object} ({schema.label}) has no control {label}", ok=False, hint=hint)
        return Finding(f"describe {object} ({schema.label}) and find {label} in it", ok=True)
