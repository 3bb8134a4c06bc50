"""The connector for Fxiaoke (纷享销客, ShareCRM)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from connectors.crm.fxiaoke.client import FxiaokeClient
from connectors.crm.fxiaoke.describing import Describer
from connectors.crm.fxiaoke.reading import Reader
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from connectors.crm.fxiaoke.webhook import receive
from connectors.crm.fxiaoke.writing import Writer
from hub.connector.contract import (
    Cursor,
    FindAnswer,
    Finding,
    GetAnswer,
    GetKind,
    Level,
    Manifest,
    ObjectInfo,
    Page,
    ReadRequest,
    Received,
    WebhookRequest,
    Write,
)
from hub.connector.kit import Kit
from hub.domain.errors import HubError
from hub.domain.outcome import Outcome
from hub.domain.record import Record
from hub.domain.schema import ObjectSchema

_MAIN_OBJECTS = ("AccountObj", "ProductObj", "SalesOrderObj", "PaymentObj")


class FxiaokeConnector:
    """One Fxiaoke tenant, by its open platform API (v2)."""

    manifest: ClassVar[Manifest] = Manifest(
        name="fxiaoke",
        vendor="纷享销客 Fxiaoke (ShareCRM)",
        title="Fxiaoke CRM",
        api="open platform, CRM data API v2; client credentials and corpAccessToken",
        docs="https://developer.fxiaoke.com/openapi_v2/",
        level=Level.SILVER,
        settings=FxiaokeSettings,
    )

    def __init__(self, settings: FxiaokeSettings, kit: Kit) -> None:
        self._settings = settings
        self._client = FxiaokeClient(settings, kit)
        self._describer = Describer(settings, kit, self._client)
        self._reader = Reader(settings, kit, self._client, self._describer)
        self._writer = Writer(settings, kit, self._client, self._describer, self._reader)

    async def check(self) -> list[Finding]:
        """Log in, act as the employee, list objects, describe and read the main ones; every miss says what to do."""
        findings: list[Finding] = []

        async def probe(what: str, work: Callable[[], Awaitable[object]], hint: str) -> Any:
            try:
                found = await work()
            except HubError as error:
                findings.append(Finding(f"{what}: {error.message}", ok=False, hint=error.hint or hint))
                return None
            findings.append(Finding(what, ok=True))
            return found

        host = self._settings.base_url
        if (
            await probe(f"log in at {host}", self._client.enterprise, "check app_id, app_secret, permanent_code")
            is None
        ):
            return findings
        hint = "set the app's interface rights and its IP whitelist in the vendor's console"
        objects: list[ObjectInfo] | None = await probe("list the objects", self.objects, hint)
        names = {info.name for info in objects or ()}
        findings += [await self._check_object(name) for name in _MAIN_OBJECTS if name in names]
        findings.append(await self._check_person())
        if self._settings.aes_key is None:
            findings.append(
                Finding(
                    "no aes_key: changes are polled, callbacks refused", ok=False, hint="set aes_key to use callbacks"
                )
            )
        return findings

    async def fingerprint(self) -> str:
        """The enterprise's id, the same in both styles of authentication."""
        return await self._client.enterprise()

    async def objects(self) -> list[ObjectInfo]:
        return await self._describer.objects()

    async def describe(self, object: str) -> ObjectSchema:
        return await self._describer.schema(object)

    def catalogue(self, object: str) -> ObjectSchema:
        return self._describer.catalogue(object)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        return await self._reader.read(request, cursor)

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        return await self._reader.get(object, ids, fields)

    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        return await self._reader.children(object, master_field, masters, fields)

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        return await self._reader.find(object, keys, fields)

    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return await self._writer.write(object, batch)

    def receive(self, request: WebhookRequest) -> Received:
        return receive(self._settings, request)

    async def _check_object(self, name: str) -> Finding:
        stamp = self._settings.stamp_field
        try:
            schema = await self.describe(name)
            await self._reader.read(ReadRequest(name, fields=frozenset({"name"}), full=True), None)
        except HubError as error:
            hint = error.hint or "give the acting employee the right to see this object"
            return Finding(f"read {name}: {error.message}", ok=False, hint=hint)
        if stamp not in schema.fields:
            hint = f"add a unique text field {stamp} to {name} in the console: it lets the hub find what it made"
            return Finding(f"{name} has no field {stamp}", ok=False, hint=hint)
        if not schema.fields[stamp].unique:
            return Finding(f"{name}.{stamp} is not unique", ok=False, hint="make the field unique in the console")
        return Finding(f"read {name} and find {stamp} on it", ok=True)

    async def _check_person(self) -> Finding:
        user = self._settings.user_id
        what = f"find the acting employee {user}"
        try:
            (answer,) = await self.get("PersonnelObj", [user], frozenset({"name"}))
        except HubError as error:
            return Finding(f"{what}: {error.message}", ok=False, hint=error.hint or "correct user_id")
        if answer.kind is not GetKind.FOUND:
            hint = "correct user_id, or give the app a sharing rule for PersonnelObj: even administrators need one"
            return Finding(f"{what}: {answer.kind}", ok=False, hint=hint)
        return Finding(what, ok=True)
