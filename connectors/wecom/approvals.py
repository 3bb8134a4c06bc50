"""Approvals (审批): described by their templates, started once, watched until they are decided."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from connectors.wecom.client import Refusal
from connectors.wecom.desk import Desk, carries, refused
from connectors.wecom.forms import Form, Unfit, form_of
from connectors.wecom.progress import digest_of, progress_of
from connectors.wecom.settings import WeComSettings
from hub.connector.contract import Cursor, FindAnswer, Page, ReadRequest, Write
from hub.connector.files import FileRefused, FileStream
from hub.domain.errors import HubError, NotFound
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Change, ChangeKind, Fields, Record, Value
from hub.domain.schema import FieldType, ObjectSchema

PREFIX = "approval:"
_ZONE = "Asia/Shanghai"
_DAY_MS = 86_400_000
_WINDOW_MS = 31 * _DAY_MS  # the longest that one listing may span
_WAITING, _PASSED, _DELETED = "1", "2", "7"
_REMEMBERED = 50_000  # approvals whose key is kept in memory


class Approvals(Desk):
    """One object for each template of the settings."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._described: dict[str, tuple[ObjectSchema, Form, int]] = {}
        self._stamps: dict[str, Value] = {}  # number -> the hub's key in it, which nobody changes

    # --- schema ------------------------------------------------------------------------------------------------------

    async def schema(self, object: str) -> ObjectSchema:
        return (await self._form(object))[0]

    def known(self, object: str) -> ObjectSchema:
        """The catalogue's form of that name, for checks without a network. Raises NotFound."""
        stock = self.catalogue.get(object)
        if stock is None:
            raise NotFound(
                f"the form of {object} is described by WeCom alone", hint="check again with the system within reach"
            )
        return _made(self.catalogue["approval"], object, stock.label, dict(stock.fields), self.settings, "catalogue")

    async def _form(self, object: str) -> tuple[ObjectSchema, Form]:
        template = self._template(object)
        held = self._described.get(object)
        now = self.kit.clock.now()
        if held is not None and now < held[2]:
            return held[0], held[1]
        answer = await self.client.read("oa/gettemplatedetail", {"template_id": template})
        base = self.catalogue["approval"]
        form = form_of(answer.body.get("template_content", {}).get("controls") or (), _ZONE, base.fields)
        names = answer.body.get("template_names") or [{}]
        label = str(names[0].get("text") or object)
        schema = _made(base, object, label, form.fields, self.settings, "live")
        self._described[object] = schema, form, now + int(self.settings.describe_seconds * 1000)
        return schema, form

    def _template(self, object: str) -> str:
        template = self.settings.templates.get(object.removeprefix(PREFIX))
        if template is None:
            known = ", ".join(PREFIX + name for name in sorted(self.settings.templates)) or "none"
            raise NotFound(f"there is no object '{object}'", hint=f"`templates` has {known}")
        return template

    # --- reading -----------------------------------------------------------------------------------------------------

    async def read(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        """A full scan by windows of submission; or what is new, then what was open and looks different now.

        The platform lists approvals by the time of submission alone. So the cursor carries the numbers of those that
        are still open, with a digest of what was seen: they are looked at again in every read until they are decided.
        """
        now = self.kit.clock.now()
        if not cursor:
            back = now - int(self.settings.approval_days * _DAY_MS)
            since = request.since if request.since is not None and not request.full else back
            cursor = {"from": since}
        if request.full:
            return await self._scan(schema, request, cursor)
        if "todo" in cursor:
            return await self._watch(schema, request, cursor)
        return await self._new(schema, request, cursor)

    async def _scan(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        asked = self.kit.clock.now()
        end = cursor.get("end", asked)
        begin, following = cursor["from"], cursor.get("next", "")
        numbers: list[str] = []
        # Windows in which nothing was submitted are passed over in one go.
        while not numbers and begin <= end:
            until = min(end, begin + _WINDOW_MS)
            numbers, following = await self._listed(schema, begin, until, following)
            if not following:
                begin = (until // 1000 + 1) * 1000
        changes = [
            Change(_chosen(record, request.fields))
            for record, _ in await self._details(schema, numbers)
            if not _deleted(record)
        ]
        more = bool(following) or begin <= end
        after: Cursor = {"from": begin, "end": end, **({"next": following} if following else {})}
        return Page(changes, after if more else {}, more, asked, self.kit.clock.now(), complete=not more)

    async def _new(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        """A page of what was submitted since the last read."""
        asked = self.kit.clock.now()
        latest = asked - int(self.settings.lag * 1000)
        opened: dict[str, str] = dict(cursor.get("open", {}))
        if "until" not in cursor:
            begin = cursor["from"] - (int(self.settings.overlap * 1000) if "open" in cursor else 0)
            until = max(begin, min(latest, begin + _WINDOW_MS))
            cursor = {"watch": sorted(opened), **cursor, "begin": begin, "until": until}
        until, watch = cursor["until"], cursor["watch"]
        numbers, following = await self._listed(schema, cursor["begin"], until, cursor.get("next", ""))
        changes = []
        # What is open already is looked at afterwards, with all the others that are.
        for record, digest in await self._details(schema, [n for n in numbers if n not in opened]):
            if not _deleted(record):
                changes.append(Change(_chosen(record, request.fields)))
            if self._watched(record):
                opened[record.id] = digest
        reached = max(cursor["from"], until)
        after: Cursor = {"from": reached, "open": opened}
        if following:
            after = {**cursor, "open": opened, "next": following}
        elif reached < latest - 1000:
            after["watch"] = watch  # a longest window has ended, and the next begins
        elif watch:
            after["todo"] = watch
        return Page(changes, after, len(after) > 2, asked, self.kit.clock.now())

    async def _watch(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        """A page of what was open when this read began: only what looks different is told."""
        asked = self.kit.clock.now()
        size = self.settings.page_size
        part, rest = cursor["todo"][:size], cursor["todo"][size:]
        opened: dict[str, str] = dict(cursor["open"])
        changes = []
        for record, digest in await self._details(schema, part):
            if digest != opened.get(record.id):
                kind = ChangeKind.DELETED if _deleted(record) else ChangeKind.SAVED
                changes.append(Change(_chosen(record, request.fields), kind))
            if self._watched(record):
                opened[record.id] = digest
            else:
                opened.pop(record.id, None)
        after: Cursor = {"from": cursor["from"], "open": opened, **({"todo": rest} if rest else {})}
        return Page(changes, after, bool(rest), asked, self.kit.clock.now())

    def _watched(self, record: Record) -> bool:
        """Whether it may still change: it waits, or it has passed only just now (and may be withdrawn or paid)."""
        state = record.fields["sp_status"]
        if state == _WAITING:
            return True
        fresh = self.kit.clock.now() - (record.modified or 0) < self.settings.watch_passed * _DAY_MS
        return state == _PASSED and fresh

    async def _listed(self, schema: ObjectSchema, begin: int, end: int, cursor: str) -> tuple[list[str], str]:
        """Numbers of approvals submitted in [begin, end] (epoch ms, whole seconds on the wire), and the vendor's next
        cursor ('' at the end)."""
        template = self._template(schema.name)
        body = {
            "starttime": str(begin // 1000),
            "endtime": str(end // 1000),
            "new_cursor": cursor,
            "size": self.settings.page_size,
            "filters": [{"key": "template_id", "value": template}],
        }
        answer = (await self.client.read("oa/getapprovalinfo", body)).body
        return [str(number) for number in answer.get("sp_no_list") or ()], str(answer.get("new_next_cursor") or "")

    async def _details(self, schema: ObjectSchema, numbers: Sequence[str]) -> list[tuple[Record, str]]:
        """Whole records with a digest of all that the platform says of them. One that it lists and does not show is
        left out, and logged: it must not stop the others."""
        _, form = await self._form(schema.name)

        async def one(number: str) -> tuple[Record, str] | None:
            try:
                info = await self._info(number)
            except Refusal as refusal:
                if refusal.refuses_us:
                    raise refusal.error() from None
                self.kit.logger.warning("approval %s is listed and can't be read: %s", number, refusal.message)
                return None
            return self._record(schema, form, info), digest_of(info)

        return [found for found in await self.each(numbers, one) if found is not None]

    async def _info(self, number: str) -> dict[str, Any]:
        answer = await self.client.ask("oa/getapprovaldetail", {"sp_no": number})
        info: dict[str, Any] = answer.body.get("info") or {}
        return info

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        info = await self._info(id)
        if str(info.get("template_id")) != self._template(schema.name):
            return None
        _, form = await self._form(schema.name)
        record = self._record(schema, form, info)
        return None if _deleted(record) else _chosen(record, fields)

    async def find(
        self, schema: ObjectSchema, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        """Approvals by what stands in them. The platform searches nothing but the time of submission: all of the last
        `find_days` are looked through, those whose key is known already without another call."""
        asked = [key for key in keys if key and all(value not in (None, "", []) for value in key.values())]
        if not asked:
            return [FindAnswer() for _ in keys]
        stamp = schema.capabilities.stamp_field
        by_stamp = stamp is not None and all(set(key) == {stamp} for key in asked)
        wanted = {key[str(stamp)] for key in asked} if by_stamp else set()
        numbers = await self._recent(schema)
        if by_stamp:
            numbers = [n for n in numbers if n not in self._stamps or self._stamps[n] in wanted]
        records = [record for record, _ in await self._details(schema, numbers) if not _deleted(record)]
        if stamp is not None:
            self._remember(records, stamp)
        return [
            FindAnswer(
                [_chosen(one, None if fields is None else fields | key.keys()) for one in records if carries(one, key)]
            )
            for key in keys
        ]

    async def _recent(self, schema: ObjectSchema) -> list[str]:
        end = self.kit.clock.now()
        begin = end - int(self.settings.find_days * _DAY_MS)
        numbers: list[str] = []
        while begin <= end:
            until, following = min(end, begin + _WINDOW_MS), ""
            while True:
                page, following = await self._listed(schema, begin, until, following)
                numbers += page
                if not following:
                    break
            begin = until + 1000
        return list(dict.fromkeys(numbers))

    def _remember(self, records: Sequence[Record], stamp: str) -> None:
        if len(self._stamps) > _REMEMBERED:
            self._stamps.clear()
        self._stamps |= {record.id: record.fields.get(stamp) for record in records}

    def _record(self, schema: ObjectSchema, form: Form, info: Mapping[str, Any]) -> Record:
        values = {**form.decode((info.get("apply_data") or {}).get("contents") or ()), **progress_of(info)}
        changed = values["changed_at"]
        return self.record(schema, str(info.get("sp_no")), values, None, changed if isinstance(changed, int) else None)

    # --- starting ----------------------------------------------------------------------------------------------------

    async def create(self, schema: ObjectSchema, write: Write) -> Outcome:
        fields = {**write.fields, **{name: _rows(rows) for name, rows in write.rows.items()}}
        stamp = schema.capabilities.stamp_field
        if stamp is not None and write.stamp:
            fields.setdefault(stamp, write.stamp)
        creator = fields.get("creator")
        if not isinstance(creator, str) or not creator:
            return refused("an approval needs its applicant, a member's userid", field="creator")
        try:
            _, form = await self._form(schema.name)
            body = self._body(schema, form, fields, creator, write.options)
        except Unfit as unfit:
            return refused(f"{unfit.field}: {unfit.message}", field=unfit.field)
        except HubError as error:
            return self.client.not_begun(error)
        answer = await self.sent("oa/applyevent", body, write)
        if isinstance(answer, Outcome):
            if answer.failure is not None and answer.failure.code == "301025":
                self._described.pop(schema.name, None)  # the template may have changed under us
            return answer
        number = answer.get("sp_no")
        if not number:
            return Outcome(OutcomeKind.UNKNOWN, failure=Failure("WeCom took the approval and gave no number"))
        placed = {
            name: {row.key: str(at) for at, row in enumerate(rows.upsert, 1)} for name, rows in write.rows.items()
        }
        return Outcome(OutcomeKind.OK, id=str(number), keys={"number": str(number)}, rows=placed)

    def _body(
        self, schema: ObjectSchema, form: Form, fields: Fields, creator: str, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        contents = form.encode({name: value for name, value in fields.items() if name in form.fields})
        own_flow = bool(options.get("use_template_approver", self.settings.use_template_approver))
        body: dict[str, Any] = {
            "creator_userid": creator,
            "template_id": self._template(schema.name),
            "use_template_approver": int(own_flow),
            "apply_data": {"contents": contents},
            "summary_list": [
                {"summary_info": [{"text": line, "lang": "zh_CN"}]} for line in _summary(schema, form, fields)
            ],
        }
        if fields.get("creator_department"):
            body["choose_department"] = _whole_number(fields["creator_department"])
        approvers, cc = _people(fields, "approvers"), _people(fields, "cc")
        if not own_flow:
            if not approvers:
                raise Unfit("approvers", "without the template's own flow an approval names its approvers")
            # One node for each approver, in order; `apv_rel` 2 is 或签 and makes no difference for one.
            nodes = [{"type": 1, "apv_rel": 2, "userid": [userid]} for userid in approvers]
            body["process"] = {"node_list": [*nodes, *([{"type": 2, "userid": cc}] if cc else [])]}
        elif approvers or cc:
            raise Unfit(
                "approvers" if approvers else "cc", "the template's own flow decides; set use_template_approver: false"
            )
        return body

    # --- files -------------------------------------------------------------------------------------------------------

    async def upload(self, schema: ObjectSchema, field: str, file: FileStream) -> Value:
        """A media id for a File control. Raises FileRefused in the platform's words."""
        found = schema.fields.get(field)
        if found is None or found.type is not FieldType.FILE:
            raise NotFound(f"{schema.name} has no file field '{field}'")
        try:
            return await self.client.upload("file", file)
        except Refusal as refusal:
            if refusal.verdict.kind is OutcomeKind.REJECTED:
                raise FileRefused(refusal.message, code=refusal.code, hint=refusal.verdict.hint) from None
            if refusal.refuses_us:
                raise refusal.error() from None
            raise refusal.verdict.error(refusal.message, code=refusal.code) from None

    @asynccontextmanager
    async def download(self, file: Value) -> AsyncIterator[FileStream]:
        """A file of a form, by the id that stands in it."""
        if not isinstance(file, str) or not file:
            raise NotFound(f"{file!r} names no file of a form")
        async with self.client.download(file) as found:
            yield found


def _made(
    base: ObjectSchema, object: str, label: str, fields: Mapping[str, Any], settings: WeComSettings, origin: str
) -> ObjectSchema:
    """A template's schema: what all approvals have, and its own form."""
    stamp = settings.stamp_label if settings.stamp_label in fields else None
    capabilities = replace(base.capabilities, stamp_field=stamp)
    # Without the control nobody finds a submission again, and the platform keeps no account of repeats.
    facts = base.facts if stamp is not None else replace(base.facts, repeats_within=0.0)
    every = {**base.fields, **fields}
    return replace(base, name=object, label=label, fields=every, capabilities=capabilities, facts=facts, origin=origin)


def _summary(schema: ObjectSchema, form: Form, fields: Fields) -> list[str]:
    """One to three short lines for the approver's list: what the mapping says, else the form's first texts."""
    given = fields.get("summary")
    if given:
        lines = [str(line) for line in given] if isinstance(given, list) else [str(given)]
    else:
        stamp = schema.capabilities.stamp_field
        lines = [
            f"{control.name}：{value}"
            for control in form.controls
            if control.name != stamp
            and isinstance(value := fields.get(control.name), str)
            and control.kind != "Selector"
        ]
    # The platform shows about twenty characters of a line.
    return [line[:20] for line in lines[:3]] or [schema.label[:20]]


def _people(fields: Fields, name: str) -> list[str]:
    value = fields.get(name)
    if value in (None, "", []):
        return []
    members = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in members):
        raise Unfit(name, "members are named by their userids")
    return [str(one) for one in members]


def _whole_number(value: Value) -> int:
    if not str(value).isdigit():
        raise Unfit("creator_department", f"'{value}' is no department's id")
    return int(str(value))


def _rows(rows: Any) -> list[Value]:
    return [dict(row.fields) for row in rows.upsert]


def _chosen(record: Record, fields: frozenset[str] | None) -> Record:
    if fields is None:
        return record
    return replace(record, fields={name: value for name, value in record.fields.items() if name in fields})


def _deleted(record: Record) -> bool:
    return record.fields["sp_status"] == _DELETED
