"""The connector for DingTalk (钉钉)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from connectors.dingtalk.approvals import Approvals
from connectors.dingtalk.catalogue import APPROVAL, ROBOT
from connectors.dingtalk.client import DingTalkClient, old
from connectors.dingtalk.contacts import Contacts
from connectors.dingtalk.describing import NOTIFICATION, Describer
from connectors.dingtalk.files import Attachments
from connectors.dingtalk.messages import Messages
from connectors.dingtalk.settings import DingTalkSettings
from connectors.dingtalk.starting import Starter
from connectors.dingtalk.stream import Stream
from connectors.dingtalk.webhook import receive
from hub.connector.contract import (
    Cursor,
    FindAnswer,
    Finding,
    GetAnswer,
    Level,
    Manifest,
    ObjectInfo,
    Page,
    Pushed,
    ReadRequest,
    Received,
    WebhookRequest,
    Write,
)
from hub.connector.files import FileStream
from hub.connector.kit import Kit
from hub.domain.errors import HubError, InvalidInput
from hub.domain.outcome import Outcome
from hub.domain.record import Record, Value
from hub.domain.schema import ObjectSchema

_FIXED = "the form of an approval that was started can't be changed by API"


class DingTalkConnector:
    """One organisation, through one internal app."""

    manifest: ClassVar[Manifest] = Manifest(
        name="dingtalk",
        vendor="钉钉 DingTalk",
        title="DingTalk",
        api="api.dingtalk.com v1.0 and oapi.dingtalk.com, internal app; events by HTTP push or Stream",
        docs="https://open.dingtalk.com/document/",
        level=Level.SILVER,
        settings=DingTalkSettings,
        exempt={
            "update_changes_what_was_sent": _FIXED,
            "update_of_gone_is_gone": f"{_FIXED}, so no call is spent on whether it is still there",
            "unanswered_updates_are_unknown": _FIXED,
            "empty_clears": _FIXED,
            "delete_removes": "an approval can't be deleted by API; it is withdrawn",
            "steps_resume_where_they_stopped": "starting an approval is one call; no step follows it",
            "children_answer_every_master": "the rows of a form's table are part of it; no object has a master",
        },
    )

    def __init__(self, settings: DingTalkSettings, kit: Kit) -> None:
        self._settings = settings
        self._client = DingTalkClient(settings, kit)
        self._describer = Describer(settings, kit, self._client)
        self._approvals = Approvals(settings, kit, self._client, self._describer)
        self._starter = Starter(settings, kit, self._client, self._describer, self._approvals)
        self._contacts = Contacts(kit, self._client, self._describer)
        self._messages = Messages(settings, kit, self._client, self._describer)
        self._attachments = Attachments(settings, self._client)
        self._stream = Stream(settings, self._client, self._describer.by_code)

    async def check(self) -> list[Finding]:
        """Log in, see the address book, describe every form of the settings; every miss says what to do."""
        findings: list[Finding] = []

        async def probe(what: str, work: Callable[[], Awaitable[object]], hint: str) -> bool:
            try:
                await work()
            except HubError as error:
                findings.append(Finding(f"{what}: {error.message}", ok=False, hint=error.hint or hint))
                return False
            findings.append(Finding(what, ok=True))
            return True

        hint = "check corp_id, client_id and client_secret, and that this machine reaches the platform"
        if not await probe(f"log in to {self._settings.corp_id}", self._client.prove, hint):
            return findings
        root = old("v2_department_get", "/topapi/v2/department/get", {"dept_id": 1}, free=True)
        hint = "give the app the right to read contacts (通讯录) and the whole organisation as its scope"
        await probe("see the address book", lambda: self._client.read(root), hint)
        findings += [await self._check_form(f"{APPROVAL}{name}") for name in self._settings.templates]
        findings.append(self._check_events())
        return findings

    async def fingerprint(self) -> str:
        """The organisation's CorpId, proven by the log-in."""
        await self._client.prove()
        return self._settings.corp_id

    async def objects(self) -> list[ObjectInfo]:
        return self._describer.objects()

    async def describe(self, object: str) -> ObjectSchema:
        return await self._describer.schema(object)

    def catalogue(self, object: str) -> ObjectSchema:
        return self._describer.catalogue(object)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        if request.object.startswith(APPROVAL):
            return await self._approvals.read(request, cursor)
        if _is_message(request.object):
            raise InvalidInput(
                f"DingTalk lists no messages, so {request.object} can't be a source",
                hint="name it as a target; what became of a notification is told by its id",
            )
        return await self._contacts.read(request, cursor)

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        if object.startswith(APPROVAL):
            return await self._approvals.get(object, ids, fields)
        if _is_message(object):
            return await self._messages.get(object, ids, fields)
        return await self._contacts.get(object, ids, fields)

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        raise InvalidInput(f"{object} has no master; tables of a form are part of its record")

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Value]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        if object.startswith(APPROVAL):
            return await self._approvals.find(object, keys, fields)
        if _is_message(object):
            return self._messages.find(keys)
        return await self._contacts.find(object, keys, fields)

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        if object.startswith(APPROVAL):
            return await self._starter.write(object, batch)
        if _is_message(object):
            return await self._messages.write(object, batch)
        return await self._contacts.write(object, batch)

    def receive(self, request: WebhookRequest) -> Received:
        return receive(self._settings, request, self._describer.by_code)

    @property
    def streams(self) -> bool:
        """Whether the settings ask for Stream mode."""
        return self._settings.events == "stream"

    def events(self) -> AsyncIterator[Pushed]:
        return self._stream.events()

    def download(self, object: str, id: str, field: str, file: Value) -> AbstractAsyncContextManager[FileStream]:
        return self._attachments.download(id, file)

    async def upload(self, object: str, field: str, file: FileStream) -> Value:
        return await self._attachments.upload(file)

    async def _check_form(self, object: str) -> Finding:
        try:
            schema = await self._describer.schema(object)
        except HubError as error:
            hint = error.hint or "give the app the right to read approval forms"
            return Finding(f"describe {object}: {error.message}", ok=False, hint=hint)
        if schema.capabilities.stamp_field is None:
            label = self._settings.stamp_label
            hint = f"add a text field {label} to the form: by it the hub finds what it started when an answer was lost"
            return Finding(f"{object} has no field {label}", ok=False, hint=hint)
        return Finding(f"describe {object} ({schema.label})", ok=True)

    def _check_events(self) -> Finding:
        if self._settings.events == "http" and self._settings.callback_token is None:
            hint = "set callback_token and callback_aes_key of the subscription, or events: stream"
            return Finding("no events: changes are polled, which costs calls of the month", ok=False, hint=hint)
        return Finding(f"events come by {self._settings.events}", ok=True)


def _is_message(object: str) -> bool:
    return object == NOTIFICATION or object.startswith(ROBOT)
