"""Customer contact (客户联系): external contacts with who follows them, corp tags, group chats, transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.wecom.client import Refusal
from connectors.wecom.desk import Desk, carries, milliseconds, refused
from hub.connector.contract import Cursor, FindAnswer, Page, ReadRequest, Write
from hub.domain.errors import HubError
from hub.domain.outcome import Failure, Outcome, OutcomeKind
from hub.domain.record import Change, Fields, Record, RowWrite, Value
from hub.domain.schema import ObjectSchema

_MEMBERS_A_CALL = 100
# How a customer was added (add_way of the documents), for people.
ADD_WAYS = {
    "0": "未知来源",
    "1": "扫描二维码",
    "2": "搜索手机号",
    "3": "名片分享",
    "4": "群聊",
    "5": "手机通讯录",
    "6": "微信联系人",
    "8": "安装第三方应用时自动添加的客服",
    "9": "搜索邮箱",
    "10": "视频号",
    "11": "日程",
    "12": "会议",
    "13": "微信好友对应的企业微信",
    "14": "智慧硬件",
    "15": "上门服务",
    "16": "获客链接",
    "17": "定制开发",
    "18": "需求回复",
    "201": "内部成员共享",
    "202": "管理员分配",
}
_REMARKS = {"remark": "remark", "description": "description", "company": "remark_company"}


class Contacts(Desk):
    """External contacts: one record a customer, one row of `follow_users` a member who knows them."""

    async def read(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        """A pass over the members' contacts. One whom several members know comes with the first of them."""
        asked = self.kit.clock.now()
        answer = await self.client.read("externalcontact/get_follow_user_list")
        followers = sorted(str(one) for one in answer.body.get("follow_user") or ())
        member = cursor.get("member", "")
        left = [one for one in followers if one > cursor.get("after", "") and one >= member]
        if not left:
            return self.one_pass([], {}, more=False, asked=asked, full=request.full)
        listed, following = await self._pairs(
            left[0], cursor.get("next", "") if left[0] == cursor.get("member") else ""
        )
        ids = [str(one["external_contact"]["external_userid"]) for one in listed]
        answers = await self.get(schema, list(dict.fromkeys(ids)), None)
        changes = [
            Change(_chosen(one.record, request.fields))
            for one in answers
            if one.record is not None and _first_of(one.record, followers) == left[0]
        ]
        if following:
            cursor, more = {"member": left[0], "next": following}, True
        else:
            cursor, more = {"after": left[0]}, len(left) > 1
        return self.one_pass(changes, cursor, more=more, asked=asked, full=request.full)

    async def _pairs(self, userid: str, cursor: str) -> tuple[list[dict[str, Any]], str]:
        body = {"userid_list": [userid], "cursor": cursor, "limit": self.settings.page_size}
        try:
            answer = (await self.client.ask("externalcontact/batch/get_by_user", body)).body
        except Refusal as refusal:
            if refusal.verdict.kind is OutcomeKind.GONE:
                return [], ""  # this member has no customers
            raise refusal.error() from None
        return list(answer.get("external_contact_list") or ()), str(answer.get("next_cursor") or "")

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        params = {"external_userid": id}
        answer = (await self.client.ask("externalcontact/get", params=params)).body
        contact, followers = answer.get("external_contact") or {}, list(answer.get("follow_user") or ())
        while answer.get("next_cursor"):
            params = {"external_userid": id, "cursor": str(answer["next_cursor"])}
            answer = (await self.client.ask("externalcontact/get", params=params)).body
            followers += answer.get("follow_user") or ()
        if not followers:
            return None  # nobody knows this customer any more
        return self.record(schema, id, _contact(contact, followers), fields)

    async def find(
        self, schema: ObjectSchema, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        """By id alone: the platform has no search, and no mobile but what an employee typed."""
        ids = [str(key["external_userid"]) for key in keys if set(key) == {"external_userid"}]
        known = {one.id: one for one in await self.get(schema, list(dict.fromkeys(i for i in ids if i)), fields)}
        answers = []
        for key in keys:
            if set(key) != {"external_userid"}:
                answers.append(FindAnswer(cant_tell=bool(key) and all(key.values())))
                continue
            found = known.get(str(key["external_userid"]))
            answers.append(FindAnswer([found.record] if found is not None and found.record is not None else []))
        return answers

    async def update(self, schema: ObjectSchema, write: Write) -> Outcome:
        """What members know of a customer: remarks and corp tags, a row of `follow_users` each."""
        if write.fields:
            name = sorted(write.fields)[0]
            return refused(f"{name} is the customer's own and can't be written; write rows of follow_users", field=name)
        rows = write.rows.get("follow_users")
        for row in rows.upsert if rows is not None else ():
            outcome = await self._know(write, row)
            if outcome is not None:
                return outcome
        return Outcome(OutcomeKind.OK, id=write.id, rows={"follow_users": {row.key: str(row.id) for row in _of(rows)}})

    async def _know(self, write: Write, row: RowWrite) -> Outcome | None:
        userid = row.id or row.fields.get("userid")
        if not userid:
            return refused("a row of follow_users needs its member", field="follow_users")
        who = {"userid": userid, "external_userid": write.id}
        remark: dict[str, Any] = {wire: row.fields[name] or "" for name, wire in _REMARKS.items() if name in row.fields}
        if "mobiles" in row.fields:
            # An empty list changes nothing; one empty number takes them all away.
            remark["remark_mobiles"] = row.fields["mobiles"] or [""]
        if remark:
            answer = await self.sent("externalcontact/remark", {**who, **remark}, write)
            if isinstance(answer, Outcome):
                return answer
        if "tag_ids" in row.fields:
            return await self._tag(write, who, [str(id) for id in _list(row.fields["tag_ids"])])
        return None

    async def _tag(self, write: Write, who: dict[str, Any], wanted: list[str]) -> Outcome | None:
        try:
            record = await self.get_one(self.catalogue.schema("external_contact"), str(write.id), None)
        except (Refusal, HubError) as error:
            return self.client.not_begun(error)
        rows = record.fields["follow_users"] if record is not None else []
        held = next((_list(row["tag_ids"]) for row in _maps(rows) if row["userid"] == who["userid"]), [])
        change = {
            "add_tag": [id for id in wanted if id not in held],
            "remove_tag": [str(id) for id in held if id not in wanted],
        }
        if not any(change.values()):
            return None
        answer = await self.sent("externalcontact/mark_tag", {**who, **change}, write)
        return answer if isinstance(answer, Outcome) else None


class Tags(Desk):
    """Corp tags: all of them in one call."""

    async def read(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        asked = self.kit.clock.now()
        changes = [Change(_chosen(record, request.fields)) for record in await self._all(schema)]
        return self.one_pass(changes, {}, more=False, asked=asked, full=request.full)

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        found = next((record for record in await self._all(schema) if record.id == id), None)
        return None if found is None else _chosen(found, fields)

    async def find(
        self, schema: ObjectSchema, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        records = await self._all(schema) if keys else []
        return [FindAnswer([one for one in records if carries(one, key)]) for key in keys]

    async def _all(self, schema: ObjectSchema) -> list[Record]:
        answer = await self.client.read("externalcontact/get_corp_tag_list", {})
        found = []
        for group in answer.body.get("tag_group") or ():
            for tag in group.get("tag") or ():
                if tag.get("deleted") or group.get("deleted"):
                    continue
                values: Fields = {name: tag.get(name) for name in ("id", "name", "order")}
                values |= {"group_id": group.get("group_id"), "group_name": group.get("group_name")}
                values["created_at"] = milliseconds(tag.get("create_time"))
                found.append(self.record(schema, str(tag["id"]), values, None))
        return found


class GroupChats(Desk):
    """Customer groups with their members."""

    async def read(self, schema: ObjectSchema, request: ReadRequest, cursor: Cursor) -> Page:
        asked = self.kit.clock.now()
        body = {"status_filter": 0, "cursor": cursor.get("next", ""), "limit": self.settings.page_size}
        answer = (await self.client.read("externalcontact/groupchat/list", body)).body
        ids = [str(one["chat_id"]) for one in answer.get("group_chat_list") or ()]
        found = await self.get(schema, ids, request.fields)
        changes = [Change(one.record) for one in found if one.record is not None]
        following = str(answer.get("next_cursor") or "")
        return self.one_pass(changes, {"next": following}, more=bool(following), asked=asked, full=request.full)

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        answer = await self.client.ask("externalcontact/groupchat/get", {"chat_id": id, "need_name": 1})
        chat = answer.body.get("group_chat") or {}
        members: list[Value] = [
            {
                "userid": one.get("userid"),
                "type": str(one.get("type")),
                "name": one.get("name") or None,
                "unionid": one.get("unionid") or None,
                "joined_at": milliseconds(one.get("join_time")),
                "join_scene": str(one["join_scene"]) if one.get("join_scene") else None,
                "state": one.get("state") or None,
            }
            for one in chat.get("member_list") or ()
        ]
        values: Fields = {
            name: chat.get(name) or None for name in ("chat_id", "name", "owner", "notice", "member_version")
        }
        values |= {
            "created_at": milliseconds(chat.get("create_time")),
            "admins": [one["userid"] for one in chat.get("admin_list") or ()] or None,
            "customers": sum(one.get("type") == 2 for one in chat.get("member_list") or ()),
            "members": members,
        }
        return self.record(schema, id, values, fields)


class Transfers(Desk):
    """Transfers of a customer from one member to another: created, then waiting, then done, refused or impossible.

    The id says who is concerned (`HANDOVER>TAKEOVER>CUSTOMER`), because the platform gives none.
    """

    async def create(self, schema: ObjectSchema, write: Write) -> Outcome:
        values = {name: str(write.fields.get(name) or "") for name in ("handover", "takeover", "external_userid")}
        if missing := [name for name, value in values.items() if not value]:
            return refused(f"a transfer needs {', '.join(missing)}", field=missing[0])
        body: dict[str, Any] = {
            "handover_userid": values["handover"],
            "takeover_userid": values["takeover"],
            "external_userid": [values["external_userid"]],
        }
        resigned = bool(write.fields.get("resigned"))
        if write.fields.get("message") and not resigned:
            body["transfer_success_msg"] = write.fields["message"]
        answer = await self.sent(f"externalcontact/{'resigned/' if resigned else ''}transfer_customer", body, write)
        if isinstance(answer, Outcome):
            return answer
        code = str(next((one.get("errcode", 0) for one in answer.get("customer") or ()), 0))
        id = ">".join([*values.values(), *(["resigned"] if resigned else [])])
        if code in ("0", "40100"):  # 40100: an earlier attempt has begun it
            return Outcome(OutcomeKind.OK, id=id)
        return Outcome(
            OutcomeKind.REJECTED, failure=Failure(f"WeCom does not transfer this customer (errcode {code})", code)
        )

    async def get_one(self, schema: ObjectSchema, id: str, fields: frozenset[str] | None) -> Record | None:
        handover, takeover, customer, *rest = [*id.split(">"), "", ""]
        resigned = "resigned" in rest
        path = f"externalcontact/{'resigned/' if resigned else ''}transfer_result"
        cursor = ""
        while True:
            body = {"handover_userid": handover, "takeover_userid": takeover, "cursor": cursor}
            answer = (await self.client.ask(path, body)).body
            for one in answer.get("customer") or ():
                if one.get("external_userid") == customer:
                    values: Fields = {
                        "id": id, "handover": handover, "takeover": takeover, "external_userid": customer,
                        "resigned": resigned, "status": str(one.get("status")),
                        "finished_at": milliseconds(one.get("takeover_time")),
                    }  # fmt: skip
                    return self.record(schema, id, values, fields)
            cursor = str(answer.get("next_cursor") or "")
            if not cursor:
                return None

    async def find(
        self, schema: ObjectSchema, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None
    ) -> list[FindAnswer]:
        """By the three that are concerned: which is what the id is made of."""
        names = ("handover", "takeover", "external_userid")
        answers = []
        for key in keys:
            if set(key) != set(names):
                answers.append(FindAnswer(cant_tell=True))
                continue
            (found,) = await self.get(schema, [">".join(str(key[name]) for name in names)], fields)
            answers.append(FindAnswer([found.record] if found.record is not None else []))
        return answers


def _contact(contact: Mapping[str, Any], followers: Sequence[Mapping[str, Any]]) -> Fields:
    """A customer's own values, what the members know in rows, and of the first member what a lead is made of."""
    rows = sorted((_follower(one) for one in followers), key=lambda row: (row["followed_at"] or 0, row["userid"]))
    first = rows[0]
    own = ("external_userid", "name", "unionid", "position", "corp_name", "corp_full_name", "avatar")
    values: Fields = {name: contact.get(name) or None for name in own}
    for name in ("type", "gender"):
        values[name] = str(contact[name]) if contact.get(name) is not None else None
    mobiles = [mobile for row in rows for mobile in row["mobiles"] or ()]
    values |= {
        "owner": first["userid"],
        "followed_at": first["followed_at"],
        "mobile": mobiles[0] if mobiles else None,
        "remark": first["remark"],
        "description": _any(rows, "description"),
        "company": _any(rows, "company"),
        "add_way": first["add_way"],
        "state": _any(rows, "state"),
        "tags": "、".join(dict.fromkeys(tag for row in rows for tag in row["tags"] or ())) or None,
        "follow_users": [dict(row) for row in rows],
    }
    return values


def _follower(one: Mapping[str, Any]) -> dict[str, Any]:
    tags = [tag for tag in one.get("tags") or () if tag.get("tag_name")]
    return {
        "userid": str(one.get("userid")),
        "remark": one.get("remark") or None,
        "description": one.get("description") or None,
        "company": one.get("remark_corp_name") or None,
        "mobiles": [str(mobile) for mobile in one.get("remark_mobiles") or ()] or None,
        "tag_ids": [tag["tag_id"] for tag in tags if tag.get("tag_id") and tag.get("type") == 1] or None,
        "tags": [tag["tag_name"] for tag in tags] or None,
        "add_way": ADD_WAYS.get(str(one.get("add_way", "")), str(one.get("add_way") or "") or None),
        "state": one.get("state") or None,
        "followed_at": milliseconds(one.get("createtime")),
    }


def _any(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    return next((row[name] for row in rows if row[name]), None)


def _first_of(record: Record, followers: Sequence[str]) -> str | None:
    """The member under whom a full pass tells of this customer."""
    known = {str(row["userid"]) for row in _maps(record.fields["follow_users"])}
    return next((userid for userid in followers if userid in known), None)


def _maps(value: Value) -> list[dict[str, Value]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def _of(rows: Any) -> list[RowWrite]:
    return [row for row in rows.upsert if row.id] if rows is not None else []


def _chosen(record: Record, fields: frozenset[str] | None) -> Record:
    if fields is not None:
        record.fields = {name: value for name, value in record.fields.items() if name in fields}
    return record
