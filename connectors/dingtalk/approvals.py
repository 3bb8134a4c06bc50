"""Reading approvals: by the time of their start, and the running ones again until they have ended.

The vendor lists ids alone, by when an instance was started; nothing tells what has changed since. So the cursor of a
poll keeps which instances are running, and how each looked: those that have ended are read, and now and then all of
them. A poll of a quiet form is one call, and one more for each twenty that are running: polls count against a month's
quota, and events are the usual way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.dingtalk.client import Answered, Call, DingTalkClient, Refusal
from connectors.dingtalk.describing import Describer, Template
from connectors.dingtalk.instances import AGREED, RUNNING, record_of, state_of
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.contract import Cursor, FindAnswer, GetAnswer, GetKind, Page, ReadRequest
from hub.connector.kit import Kit
from hub.domain.outcome import OutcomeKind
from hub.domain.record import Change, ChangeKind, Fields, Record
from hub.domain.values import DoesNotFit, canonical

PAGE = 20  # ids a call, and instances a page
_DAY = 86_400_000
_OLDEST = 364 * _DAY  # the vendor lists what was started within 365 days
_WIDEST = 1 << 33  # ms, some 99 days: the vendor takes spans of 120
_ONLY_IDS = frozenset({"instance_id"})
_MOST_IDS = 10_000


@dataclass(frozen=True, slots=True)
class Slice:
    """The ids of the instances that were started in [start, end), at most a page of them unless it is a millisecond."""

    ids: list[str]
    start: int
    end: int
    width: int
    asked: int
    answered: int


class Approvals:
    """The reading half of approvals."""

    def __init__(self, settings: DingTalkSettings, kit: Kit, client: DingTalkClient, describer: Describer) -> None:
        self._settings = settings
        self._kit = kit
        self._client = client
        self._describer = describer

    # --- streams ------------------------------------------------------------------------------------------------

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        """The next page: what was started since, then what has become of the running ones; or of a full scan."""
        template = await self._describer.template(request.object)
        if request.full:
            return await self._scan(template, request, cursor or {})
        now = self._kit.clock.now()
        cursor = cursor or {"from": self._start(request.since), "open": {}, "first": True, "checked": now}
        until = cursor.get("until") or now - int(self._settings.lag * 1000)
        if "after" not in cursor and not cursor.get("listed") and cursor["from"] < until:
            return await self._started(template, request, {**cursor, "until": until})
        return await self._running(template, request, cursor)

    def _start(self, since: int | None) -> int:
        return max(since or 0, self._kit.clock.now() - _OLDEST)

    async def _started(self, template: Template, request: ReadRequest, cursor: Cursor) -> Page:
        """One slice of what was started since; it goes back a little over the poll before, for starts seen late."""
        start, until = cursor["from"], cursor["until"]
        back = 0 if cursor.get("first") or "width" in cursor else int(self._settings.overlap * 1000)
        part = await self._slice(template, start - back, until, cursor.get("width", _WIDEST))
        known: Mapping[str, str] = cursor["open"]
        recent = set(cursor.get("recent", ()))
        fresh = [id for id in part.ids if id not in known and id not in recent]
        answers = await self._instances(template, request.object, fresh, request.fields)
        changes, still = self._seen(answers)
        parents = await self._revoked_parents(template, request, answers)
        following = {**cursor, "from": part.end, "width": part.width, "open": {**known, **still}}
        if still:
            following["oldest"] = min(part.start, cursor.get("oldest", part.start))
        # Those that have ended already are remembered for as long as the next poll may meet them again.
        met = list(cursor.get("met", ()))
        if part.end >= until - int(self._settings.overlap * 1000):
            met += part.ids
        following["met"] = met
        if part.end >= until:
            for name in ("width", "until", "first", "met"):
                following.pop(name, None)
            following["recent"] = [id for id in met if id not in following["open"]]
            if known:
                following["listed"] = True  # what is new is read; the same poll goes on with what was running
        more = part.end < until or bool(known)
        return Page([*changes, *parents], following, more, part.asked, self._kit.clock.now())

    async def _running(self, template: Template, request: ReadRequest, cursor: Cursor) -> Page:
        """What has become of the instances that were running: a page of those to look at, or the end of the poll."""
        now = self._kit.clock.now()
        known: dict[str, str] = dict(cursor["open"])
        rest: list[str] | None = cursor.get("after")
        asked = now
        if rest is None:
            due = now - cursor.get("checked", 0) >= self._settings.running_check * 1000
            rest = sorted(known) if due or not known else await self._ended(template, known, cursor)
            if due:
                cursor = {**cursor, "checked": now}
        page, rest = rest[:PAGE], rest[PAGE:]
        answers = await self._instances(template, request.object, page, request.fields)
        changes, still = self._seen(answers, known)
        parents = await self._revoked_parents(template, request, answers)
        for id in page:
            known.pop(id, None)
        ended = [id for id in page if id not in still]
        following = {**cursor, "open": {**known, **still}, "recent": [*cursor.get("recent", ()), *ended]}
        following.pop("after", None)
        following.pop("listed", None)
        if not following["open"]:
            following.pop("oldest", None)
        if rest:
            following["after"] = rest
        return Page([*changes, *parents], following, bool(rest), asked, self._kit.clock.now())

    def _seen(
        self, answers: Sequence[_Instance], known: Mapping[str, str] | None = None
    ) -> tuple[list[Change], dict[str, str]]:
        """The changes of these instances, and how those look that are still running. What looks as before is none."""
        changes: list[Change] = []
        still: dict[str, str] = {}
        for one in answers:
            if one.record is None:
                if known is not None and one.id in known:
                    changes.append(Change(Record(one.object, one.id, {}), ChangeKind.DELETED))
                continue
            if state_of(one.found) == RUNNING:
                still[one.id] = one.mark
            if known is None or known.get(one.id) != one.mark:
                changes.append(Change(one.record))
        return changes, still

    async def _revoked_parents(
        self, template: Template, request: ReadRequest, answers: Sequence[_Instance]
    ) -> list[Change]:
        """A request to revoke that was agreed changes the instance that it is about."""
        parents = [
            str(one.found["mainProcessInstanceId"])
            for one in answers
            if one.found.get("bizAction") == "REVOKE" and one.found.get("mainProcessInstanceId")
            if state_of(one.found) == AGREED
        ]
        found = await self._instances(template, request.object, parents, request.fields) if parents else []
        return [Change(one.record) for one in found if one.record is not None]

    async def _ended(self, template: Template, known: Mapping[str, str], cursor: Cursor) -> list[str]:
        """Of the instances that were running those that are no longer listed as such, since the oldest was started."""
        running: set[str] = set()
        start, until = self._start(cursor.get("oldest")), cursor["from"]
        while start < until:
            end = min(start + 119 * _DAY, until)
            token: Any = 0
            while token is not None and len(running) <= _MOST_IDS:
                answered = await self._ids(template, start, end, token, statuses=["RUNNING"])
                running.update(answered.result.get("list") or ())
                token = answered.result.get("nextToken")
            start = end
        return sorted(id for id in known if id not in running)

    async def _scan(self, template: Template, request: ReadRequest, cursor: Cursor) -> Page:
        """Everything that the vendor still lists: what was started within a year. Ids alone cost no call each."""
        until = cursor.get("until") or self._kit.clock.now() + 1
        start = cursor.get("from") or until - _OLDEST
        part = await self._slice(template, start, until, cursor.get("width", _WIDEST))
        if request.fields is not None and request.fields <= _ONLY_IDS:
            changes = [Change(Record(request.object, id, {"instance_id": id})) for id in part.ids]
        else:
            answers = await self._instances(template, request.object, part.ids, request.fields)
            changes = [Change(one.record) for one in answers if one.record is not None]
        more = part.end < until
        following: Cursor = {"from": part.end, "until": until, "width": part.width} if more else {}
        return Page(changes, following, more, part.asked, self._kit.clock.now(), complete=not more)

    async def _slice(self, template: Template, start: int, until: int, width: int) -> Slice:
        """The instances of a span that is so short that one call lists them all.

        A page that follows another by an offset loses an instance whenever an earlier one is deleted in between. Spans
        of time don't shift. Their ends lie on a fixed grid, so that the same cursor gives the same page again.
        """
        asked = self._kit.clock.now()
        full: int | None = None  # what lies between `start` and here is known to be more than a page
        while True:
            if full is not None:
                width = _narrower(start, full, width)
            end = min((start // width + 1) * width, until)
            answered = await self._ids(template, start, end - 1, 0)
            ids = list(answered.result.get("list") or ())
            token = answered.result.get("nextToken")
            if token is None:
                if len(ids) < PAGE // 4 and width < _WIDEST:
                    width *= 2
                if ids or end >= until:
                    return Slice(ids, start, end, width, asked, answered.answered)
                start = end  # nothing was started in it: not worth a page
            elif end - start > 1:
                full = end
            else:
                while token is not None and len(ids) < _MOST_IDS:
                    answered = await self._ids(template, start, end - 1, token)
                    ids += answered.result.get("list") or ()
                    token = answered.result.get("nextToken")
                return Slice(list(dict.fromkeys(ids)), start, end, width, asked, answered.answered)

    async def _ids(
        self, template: Template, start: int, end: int, token: Any, statuses: Sequence[str] | None = None
    ) -> Answered:
        body: dict[str, Any] = {
            "processCode": template.code,
            "startTime": start,
            "endTime": end,
            "nextToken": token,
            "maxResults": PAGE,
        }
        if statuses:
            body["statuses"] = list(statuses)
        path = "/v1.0/workflow/processes/instanceIds/query"
        return await self._client.read(Call("instance_ids", "POST", path, body))

    # --- by id and by key ---------------------------------------------------------------------------------------

    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        """A call for each; the vendor has no list."""
        template = await self._describer.template(object)
        found = await self._instances(template, object, list(dict.fromkeys(ids)), fields)
        answers = {one.id: GetAnswer(one.id, one.kind, one.record, one.asked, one.answered) for one in found}
        return [answers[id] for id in ids]

    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        """Instances by fields of their form: the vendor can't search, so those of the last `find_days` are read once
        for all keys. Empty values match nothing."""
        template = await self._describer.template(object)
        answers = [FindAnswer() for _ in keys]
        wanted = [
            at for at, key in enumerate(keys) if key and all(value not in (None, "", []) for value in key.values())
        ]
        if not wanted:
            return answers
        asked = None if fields is None else fields | {name for key in keys for name in key}
        until = self._kit.clock.now() + 1
        start, width = until - self._settings.find_days * _DAY, _WIDEST
        while start < until:
            part = await self._slice(template, start, until, width)
            start, width = part.end, part.width
            for one in await self._instances(template, object, part.ids, asked):
                if one.kind is GetKind.CANT_TELL or one.kind is GetKind.NO_RIGHTS:
                    for at in wanted:
                        answers[at].cant_tell = True
                if one.record is None:
                    continue
                for at in wanted:
                    if _carries(template, one.record.fields, keys[at]):
                        answers[at].records.append(one.record)
        return answers

    async def _instances(
        self, template: Template, object: str, ids: Sequence[str], fields: frozenset[str] | None
    ) -> list[_Instance]:
        return list(await asyncio.gather(*(self._instance(template, object, id, fields) for id in ids)))

    async def _instance(self, template: Template, object: str, id: str, fields: frozenset[str] | None) -> _Instance:
        asked = self._kit.clock.now()
        try:
            answered = await self.ask(id)
        except Refusal as refusal:
            kind = GetKind.CANT_TELL
            if refusal.verdict.kind is OutcomeKind.GONE:
                kind = GetKind.GONE
            elif refusal.refuses_us:
                kind = GetKind.NO_RIGHTS
            return _Instance(object, id, kind, {}, None, asked, self._kit.clock.now())
        found: dict[str, Any] = answered.result or {}
        revoked = await self._is_revoked(found)
        record = record_of(object, id, found, template.form, fields, revoked=revoked)
        return _Instance(object, id, GetKind.FOUND, found, record, answered.asked, answered.answered)

    async def ask(self, id: str) -> Answered:
        """One instance as the API shows it. Raises Refusal, VendorError, TransportFailure."""
        path = "/v1.0/workflow/processInstances"
        return await self._client.ask(Call("instance", "GET", path, params={"processInstanceId": id}))

    async def _is_revoked(self, found: Mapping[str, Any]) -> bool:
        """Whether one of the instances that hang on this one took it back; few have any."""
        if state_of(found) != AGREED or found.get("bizAction") == "REVOKE":
            return False
        for id in found.get("attachedProcessInstanceIds") or ():
            try:
                child = (await self.ask(str(id))).result or {}
            except Refusal:
                continue
            if child.get("bizAction") == "REVOKE" and state_of(child) == AGREED:
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Instance:
    object: str
    id: str
    kind: GetKind
    found: Mapping[str, Any]
    record: Record | None
    asked: int
    answered: int

    @property
    def mark(self) -> str:
        """How it looks, in few characters: a cursor holds one for every running instance."""
        whole = orjson.dumps(self.found, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(whole).hexdigest()[:8]


def _narrower(start: int, end: int, width: int) -> int:
    """The widest width up to `width` whose span on the grid ends before `end`."""
    while width > 1 and (start // width + 1) * width >= end:
        width //= 2
    return width


def _carries(template: Template, values: Fields, key: Mapping[str, Any]) -> bool:
    for name, wanted in key.items():
        field, value = template.schema.fields.get(name), values.get(name)
        try:
            if field is None or value is None or canonical(field, value) != canonical(field, wanted):
                return False
        except DoesNotFit:
            return False
    return True
