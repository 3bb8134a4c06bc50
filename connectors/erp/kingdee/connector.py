"""The connector for 金蝶云·星空 (K/3 Cloud): what it is, what it can, and where its halves meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

from connectors.erp.kingdee.catalogue import load_forms
from connectors.erp.kingdee.client import KingdeeClient
from connectors.erp.kingdee.metadata import live_schema, missing_stamps
from connectors.erp.kingdee.queries import Queries
from connectors.erp.kingdee.reading import Reader
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.writing import Writer
from hub.connector.codes import ErrorTable
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
    Write,
)
from hub.connector.kit import Kit
from hub.domain.errors import CredentialsRefused, HubError, NotFound, VendorError
from hub.domain.outcome import Outcome
from hub.domain.record import Record
from hub.domain.schema import ObjectSchema

_SCHEMA_LIFE = 600_000  # ms that a live schema is trusted
_UNKNOWN_FORM = "4"
_NO_RIGHTS = "2"
_NO_WEBHOOKS = "K/3 Cloud has no generic outbound webhook; changes are polled"


class KingdeeConnector:
    """One data centre of K/3 Cloud, by its WebAPI (`*.common.kdsvc`)."""

    manifest: ClassVar[Manifest] = Manifest(
        name="kingdee",
        vendor="Kingdee 金蝶",
        title="金蝶云·星空 (K/3 Cloud)",
        api="WebAPI 8.x (*.common.kdsvc)",
        docs="https://openapi.open.kingdee.com/ApiDoc",
        level=Level.SILVER,
        settings=KingdeeSettings,
        exempt={
            **dict.fromkeys(
                (
                    "true_webhook_is_received",
                    "forged_webhook_is_refused",
                    "stale_webhook_is_refused",
                    "replayed_webhook_is_recognised",
                    "garbage_webhook_is_refused",
                ),
                _NO_WEBHOOKS,
            ),
            "children_answer_every_master": "rows are tables inside their bill; no form is the detail of another",
        },
    )

    def __init__(self, settings: KingdeeSettings, kit: Kit) -> None:
        self._settings = settings
        self._kit = kit
        self._forms = load_forms()
        errors = ErrorTable.load(Path(__file__).parent / "errors.yaml", self._settings.errors, kit.logger)
        self._client = KingdeeClient(self._settings, kit, errors)
        queries = Queries(self._client, self._settings.zone)
        self._reader = Reader(queries, self._settings, self._forms, kit.clock, self.describe)
        self._writer = Writer(self._client, queries, self._settings, self._forms, self.describe)
        self._schemas: dict[str, tuple[int, ObjectSchema]] = {}

    def __repr__(self) -> str:
        return f"KingdeeConnector({self._kit.system!r}, data centre {self._settings.acct_id})"

    async def check(self) -> list[Finding]:
        findings = [*await self._check_server()]
        try:
            await self._client.log_in()
        except HubError as error:
            return [*findings, _wrong(error.message, error.hint)]
        findings.append(Finding(f"{self._settings.username} may log in to data centre {self._settings.acct_id}", True))
        return [*findings, *[await self._check_form(name) for name in self._forms.schemas]]

    async def fingerprint(self) -> str:
        """The data centre's id, once it has let us in."""
        await self._client.log_in()
        return self._settings.acct_id

    async def objects(self) -> list[ObjectInfo]:
        """The catalogue's forms, and those that the settings add: the WebAPI has no list of forms."""
        known = [ObjectInfo(name, schema.label) for name, schema in self._forms.schemas.items()]
        added = [name for name in self._settings.forms if name not in self._forms.schemas]
        return [*known, *[ObjectInfo(name, (await self.describe(name)).label, custom=True) for name in added]]

    async def describe(self, object: str) -> ObjectSchema:
        now = self._kit.clock.now()
        learned, schema = self._schemas.get(object, (0, None))
        if schema is not None and now - learned < _SCHEMA_LIFE:
            return schema
        schema = await self._learn(object)
        self._schemas[object] = (now, schema)
        return schema

    def catalogue(self, object: str) -> ObjectSchema:
        """The form as the catalogue has it, without asking the server. Raises NotFound."""
        return self._forms.schemas.schema(object)

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

    async def aclose(self) -> None:
        await self._client.aclose()

    # -- inner ----------------------------------------------------------------------------------------------------

    async def _learn(self, object: str) -> ObjectSchema:
        known = self._forms.schemas.get(object)
        if known is None and object not in self._settings.forms:
            near = get_close_matches(object, [*self._forms.schemas, *self._settings.forms], n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "a form of your own goes into the setting `forms`"
            raise NotFound(f"there is no form '{object}'", hint=hint)
        try:
            found = await self._client.read("QueryBusinessInfo", {"data": {"FormId": object}})
        except VendorError as error:
            if error.code == _UNKNOWN_FORM:
                raise NotFound(
                    f"this data centre has no form '{object}'", hint="look at its name in Kingdee"
                ) from error
            if known is not None and (error.code == _NO_RIGHTS or not error.retryable):
                self._kit.logger.warning("no metadata of %s (%s); the catalogue stands in", object, error.message)
                return known
            raise
        info = found.body.get("Result", {}).get("NeedReturnData") if isinstance(found.body, dict) else None
        if not isinstance(info, dict):
            raise VendorError(f"QueryBusinessInfo gave no metadata of {object}")
        schema = live_schema({"Id": object, **info}, known, self._forms.layout(object), self._settings.timezone)
        stamp = self._settings.stamp_field if self._settings.stamp_field in schema.fields else None
        can = replace(schema.capabilities, stamp_field=stamp if schema.capabilities.create else None)
        return replace(schema, capabilities=can)

    async def _check_server(self) -> list[Finding]:
        try:
            centres = {str(each.get("Id")) for each in await self._client.data_centres()}
        except CredentialsRefused:
            return []
        except VendorError:
            return []  # public clouds may not answer this; the log-in tells
        except HubError as error:
            return [_wrong(error.message, error.hint)]
        if centres and self._settings.acct_id not in centres:
            return [_wrong(f"the server has no data centre {self._settings.acct_id}", "correct acct_id")]
        return [Finding("the server answers and offers the data centre", True)]

    async def _check_form(self, name: str) -> Finding:
        try:
            schema = await self.describe(name)
            await self._client.query({"FormId": name, "FieldKeys": schema.id_field, "Limit": 1})
        except HubError as error:
            hint = error.hint
            if isinstance(error, VendorError) and error.code == _NO_RIGHTS:
                hint = f"grant the integration user to view {name}"
            return _wrong(f"{name} can't be read: {error.message}", hint)
        layout = self._forms.layout(name)
        stamps = missing_stamps(schema, layout, self._settings.stamp_field, self._settings.row_stamp_field)
        if schema.capabilities.create and stamps:
            return _wrong(
                f"{name} can be read, but has no field {' and '.join(stamps)}",
                "add it as a text of 100 characters in BOS, so that a create whose answer was lost is found again",
            )
        return Finding(f"{name} ({schema.label}) can be read", True)


def _wrong(what: str, hint: str | None) -> Finding:
    return Finding(what, False, hint or "look at the settings of this system, then run the check again")
