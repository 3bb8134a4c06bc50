"""What objects there are: people, messages, and one object for each approval form and robot of the settings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from connectors.dingtalk.catalogue import APPROVAL, ROBOT, sample_forms, stock
from connectors.dingtalk.client import Call, DingTalkClient, Refusal
from connectors.dingtalk.forms import Form, read_form
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.catalogue import Catalogue
from hub.connector.contract import ObjectInfo
from hub.connector.kit import Kit
from hub.domain.errors import NotFound, VendorError
from hub.domain.schema import ObjectSchema

USER, DEPARTMENT, NOTIFICATION = "user", "department", "work_notification"


@dataclass(frozen=True, slots=True)
class Template:
    """One form, as it was described until `until` (seconds of the monotonic clock)."""

    code: str
    form: Form
    schema: ObjectSchema
    until: float


class Describer:
    """The schemas of one organisation; a form is described live and kept for `describe_seconds`."""

    def __init__(self, settings: DingTalkSettings, kit: Kit, client: DingTalkClient) -> None:
        self._settings = settings
        self._kit = kit
        self._client = client
        found = stock()
        self._approval, self._robot = found.pop("approval"), found.pop("robot")
        notification = found[NOTIFICATION]
        facts = replace(notification.facts, repeats_within=settings.resend_within)
        self._fixed = {**found, NOTIFICATION: replace(notification, facts=facts)}
        self._templates: dict[str, Template] = {}
        self._turn = asyncio.Lock()  # many who ask for the same form at once share one call

    def objects(self) -> list[ObjectInfo]:
        fixed = [ObjectInfo(schema.name, schema.label) for schema in self._fixed.values()]
        fixed += [ObjectInfo(f"{ROBOT}{name}", f"{self._robot.label} {name}") for name in self._settings.robots]
        return fixed + [
            ObjectInfo(f"{APPROVAL}{name}", f"审批 {name}", custom=True) for name in self._settings.templates
        ]

    async def schema(self, object: str) -> ObjectSchema:
        """The schema, live for a form. Raises NotFound with the nearest names."""
        if object.startswith(APPROVAL):
            return (await self.template(object)).schema
        return self._known(object)

    async def template(self, object: str) -> Template:
        """The form behind `approval:<name>`. Raises NotFound."""
        self._known(object)
        async with self._turn:
            known = self._templates.get(object)
            if known is None or known.until <= self._kit.clock.monotonic():
                known = self._templates[object] = await self._describe(object)
            return known

    def catalogue(self, object: str) -> ObjectSchema:
        """The schema without asking: a form's fields are those of the sample form of its name. Raises NotFound."""
        schema = self._known(object)
        if not object.startswith(APPROVAL):
            return schema
        sample = sample_forms().get(object.removeprefix(APPROVAL))
        form = self._form(str(sample["name"]), sample["items"]) if sample else None
        return self._schema(object, form) if form else schema

    def by_code(self, code: object) -> str | None:
        """The object whose form has this processCode; None for forms that the settings don't name."""
        for name, known in self._settings.templates.items():
            if known == code:
                return f"{APPROVAL}{name}"
        return None

    async def _describe(self, object: str) -> Template:
        code = self._settings.templates[object.removeprefix(APPROVAL)]
        path = "/v1.0/workflow/forms/schemas/processCodes"
        try:
            answered = await self._client.ask(Call("form", "GET", path, params={"processCode": code}))
        except Refusal as refusal:
            if refusal.code == "processCode.error":
                hint = "correct its code under `templates:`; the console shows it in the form's address"
                raise NotFound(f"there is no form behind {object}: {refusal.message}", hint=hint) from None
            raise VendorError(refusal.message, code=refusal.code, retryable=False, hint=refusal.verdict.hint) from None
        result = answered.result or {}
        content = result.get("schemaContent") or {}
        form = self._form(str(result.get("name") or content.get("title") or object), content.get("items") or [])
        until = self._kit.clock.monotonic() + self._settings.describe_seconds
        return Template(code, form, replace(self._schema(object, form), origin="live"), until)

    def _form(self, title: str, items: list[dict[str, object]]) -> Form:
        return read_form(title, items, frozenset(self._approval.fields))

    def _schema(self, object: str, form: Form) -> ObjectSchema:
        stamp = form.stamp(self._settings.stamp_label)
        capabilities = replace(self._approval.capabilities, stamp_field=stamp)
        files = capabilities.files and self._settings.file_user is not None
        return replace(
            self._approval,
            name=object,
            label=form.title,
            fields={**self._approval.fields, **form.fields},
            capabilities=replace(capabilities, files=files),
            # Without the hub's key nobody can tell whether one was started: a start without an answer is held.
            facts=self._approval.facts if stamp else replace(self._approval.facts, repeats_within=0.0),
        )

    def _known(self, object: str) -> ObjectSchema:
        """Fixed objects, and patterns under the names of the settings."""
        names = Catalogue(self._fixed)
        for name in self._settings.robots:
            names[f"{ROBOT}{name}"] = replace(self._robot, name=f"{ROBOT}{name}")
        for name in self._settings.templates:
            names[f"{APPROVAL}{name}"] = replace(self._approval, name=f"{APPROVAL}{name}")
        return names.schema(object)
