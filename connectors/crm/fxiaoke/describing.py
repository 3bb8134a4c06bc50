"""What objects there are and what they look like: described live, kept for a while, merged with the catalogue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from connectors.crm.fxiaoke.client import FxiaokeClient, Refusal
from connectors.crm.fxiaoke.paths import DESCRIBE, OBJECTS, is_custom
from connectors.crm.fxiaoke.schema import Stock, live_fields, with_tables
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from hub.connector.contract import ObjectInfo
from hub.connector.kit import Kit
from hub.domain.errors import NotFound
from hub.domain.schema import ObjectSchema


@dataclass(frozen=True, slots=True)
class _Described:
    """One object without its tables, as it was described until `until` (seconds of the monotonic clock)."""

    schema: ObjectSchema
    live: frozenset[str]
    until: float


class Describer:
    """The schemas of one tenant, each kept for `describe_seconds`."""

    def __init__(self, settings: FxiaokeSettings, kit: Kit, client: FxiaokeClient) -> None:
        self._settings = settings
        self._kit = kit
        self._client = client
        self._stock = Stock.load()
        self._catalogue = self._stock.catalogue(settings.timezone, settings.stamp_field, settings.details)
        self._described: dict[str, _Described] = {}
        self._turn = asyncio.Lock()  # many who ask for the same object at once share one call

    async def objects(self) -> list[ObjectInfo]:
        answered = await self._client.read(OBJECTS, {"includeNull": False})
        return [
            ObjectInfo(str(item["describeApiName"]), str(item.get("describeDisplayName") or ""), custom=_custom(item))
            for item in (answered.data or {}).get("objects") or ()
            if item.get("isActive", True) is not False
        ]

    async def schema(self, object: str) -> ObjectSchema:
        """The schema with its tables; the catalogue's where describe has no answer for an object that it knows."""
        master = await self._flat(object)
        details = [(await self._flat(name)).schema for name in self._details(object)]
        return with_tables(master.schema, details) if details else master.schema

    def catalogue(self, object: str) -> ObjectSchema:
        """What the vendor's documents say of an object. Raises NotFound."""
        return self._catalogue.schema(object)

    def live(self, object: str) -> frozenset[str]:
        """The fields of an object (described before) that the vendor works out when it is asked."""
        return self._described[object].live

    async def _flat(self, object: str) -> _Described:
        async with self._turn:
            known = self._described.get(object)
            if known is None or known.until <= self._kit.clock.monotonic():
                schema, live = await self._ask(object)
                until = self._kit.clock.monotonic() + self._settings.describe_seconds
                known = self._described[object] = _Described(schema, live, until)
            return known

    async def _ask(self, object: str) -> tuple[ObjectSchema, frozenset[str]]:
        try:
            answered = await self._client.ask(DESCRIBE, {"data": {"apiName": object, "includeDetail": True}})
        except Refusal as refusal:
            return self._from_catalogue(object, refusal)
        described: dict[str, Any] = (answered.data or {}).get("describe") or {}
        fields = {key: given for key, given in (described.get("fields") or {}).items() if given.get("is_active", True)}
        schema = self._stock.schema(
            object,
            str(described.get("display_name") or self._label(object)),
            fields,
            self._settings.timezone,
            self._settings.stamp_field,
            origin="live",
        )
        return schema, live_fields(schema, fields)

    def _from_catalogue(self, object: str, refusal: Refusal) -> tuple[ObjectSchema, frozenset[str]]:
        if object not in self._catalogue:
            try:
                self._catalogue.schema(object)
            except NotFound as missing:
                raise NotFound(f"{missing.message}: {refusal.message}", hint=missing.hint) from None
        schema = self._catalogue[object]
        plain = {name: field for name, field in schema.fields.items() if field.rows is None}
        fields = self._stock.objects[object]["fields"]
        self._kit.logger.warning("no description of %s (code %s); the catalogue's is used", object, refusal.code)
        return replace(schema, fields=plain), live_fields(schema, fields)

    def _details(self, object: str) -> list[str]:
        return self._stock.details_of(object, self._settings.details)

    def _label(self, object: str) -> str:
        return self._catalogue[object].label if object in self._catalogue else object


def _custom(item: dict[str, Any]) -> bool:
    return item.get("defineType") == "custom" or is_custom(str(item["describeApiName"]))
