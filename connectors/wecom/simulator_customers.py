"""Simulated customer contact: external contacts with their followers, corp tags, group chats, transfers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from connectors.wecom.simulator_gate import Call, Denied
from hub.connector.table import Row

if TYPE_CHECKING:
    from connectors.wecom.simulator import WeComSimulator

_FOLLOWERS_A_PAGE = 500
_WAITING_SECONDS = 86_400.0
_DONE, _WAITING, _REFUSED = 1, 2, 3


class Customers:
    """The customer contact desk. A contact's row holds `follow`: userid -> what that member knows of them."""

    def __init__(self, simulator: WeComSimulator) -> None:
        self._simulator = simulator
        self._contacts = simulator.table("external_contact")
        self._chats = simulator.table("group_chat")
        self._tags = simulator.table("corp_tag")
        self._transfers = simulator.table("transfer")

    def handlers(self) -> dict[str, Callable[[Call], dict[str, Any]]]:
        return {
            "externalcontact/get_follow_user_list": self._followers,
            "externalcontact/list": self._list,
            "externalcontact/get": self._get,
            "externalcontact/batch/get_by_user": self._batch,
            "externalcontact/remark": self._remark,
            "externalcontact/mark_tag": self._mark,
            "externalcontact/get_corp_tag_list": self._tag_list,
            "externalcontact/groupchat/list": self._chat_list,
            "externalcontact/groupchat/get": self._chat_get,
            "externalcontact/transfer_customer": self._transfer,
            "externalcontact/transfer_result": self._transfer_result,
        }

    # -- what people do -----------------------------------------------------------------------------------------------

    def follow(self, id: str, userid: str, fields: Mapping[str, Any], *, actor: str) -> None:
        """A customer and a member become contacts, or the member edits what they know of the customer."""
        if self._simulator.people.member(userid) is None:
            raise ValueError(f"there is no member {userid}")
        now = self._simulator.stamp() // 1000
        before = self._contacts.get(id)
        names = ("name", "avatar", "type", "gender", "unionid", "position", "corp_name", "corp_full_name")
        row: Row = {"external_userid": id, "type": 1, "gender": 0, "name": id, "follow": {}, **(before or {})}
        row |= {name: fields[name] for name in names if name in fields}
        known = row["follow"].get(userid)
        info = known or {
            "userid": userid, "remark": row["name"], "description": "", "createtime": now, "remark_corp_name": "",
            "remark_mobiles": [], "oper_userid": userid, "add_way": 1, "state": "", "tags": [],
        }  # fmt: skip
        info = {**info, **{name: value for name, value in fields.items() if name in info and name != "userid"}}
        row["follow"] = {**row["follow"], userid: info}
        self._simulator.commit("update" if before else "create", "external_contact", id, row, actor=actor)
        if actor not in ("api", "seed"):
            self._tell("edit_external_contact" if known else "add_external_contact", id, userid, State=info["state"])

    def unfollow(self, id: str, userid: str, *, by_customer: bool) -> None:
        row = self._contacts.get(id)
        if row is None or userid not in row["follow"]:
            raise ValueError(f"{userid} does not follow {id}")
        rest = {one: info for one, info in row["follow"].items() if one != userid}
        after = {**row, "follow": rest} if rest else None
        self._simulator.commit("update" if rest else "delete", "external_contact", id, after, actor="person")
        self._tell("del_follow_user" if by_customer else "del_external_contact", id, userid)

    def save_chat(self, id: str, fields: Mapping[str, Any], *, actor: str) -> None:
        before = self._chats.get(id)
        empty: Row = {
            "chat_id": id,
            "name": "",
            "owner": "",
            "notice": "",
            "member_list": [],
            "admin_list": [],
            "status": 0,
        }
        row: Row = {"create_time": self._simulator.stamp() // 1000, **empty, **(before or {}), **fields}
        row["member_version"] = f"v{len(self._simulator.journal) + 1}"
        self._simulator.commit("update" if before else "create", "group_chat", id, row, actor=actor)
        if actor != "seed":
            detail = {"UpdateDetail": "change_name"} if before else {}
            change = "update" if before else "create"
            self._simulator.tell("change_external_chat", {"ChatId": id, **detail}, change=change)

    def dismiss_chat(self, id: str) -> None:
        if self._chats.get(id) is None:
            raise ValueError(f"there is no group {id}")
        self._simulator.commit("delete", "group_chat", id, None, actor="person")
        self._simulator.tell("change_external_chat", {"ChatId": id}, change="dismiss")

    def save_tag(self, id: str, fields: Mapping[str, Any], *, actor: str) -> None:
        before = self._tags.get(id)
        row: Row = {"id": id, "group_id": "etGroup1", "group_name": "客户等级", "order": 1, "deleted": False,
                    "create_time": self._simulator.stamp() // 1000, **(before or {}), **fields}  # fmt: skip
        self._simulator.commit("update" if before else "create", "corp_tag", id, row, actor=actor)
        if actor != "seed":
            change = "update" if before else "create"
            self._simulator.tell("change_external_tag", {"Id": id, "TagType": "tag"}, change=change)

    def answer_transfer(self, id: str, *, refused: bool) -> None:
        """The customer says yes or no to a new contact person."""
        row = self._transfers.get(id)
        if row is None or row["status"] != _WAITING:
            raise ValueError(f"no transfer {id} waits for an answer")
        status = _REFUSED if refused else _DONE
        now = self._simulator.stamp() // 1000
        self._simulator.commit(
            "update", "transfer", id, {**row, "status": status, "takeover_time": now}, actor="person"
        )
        if refused:
            said = {"FailReason": "customer_refused"}
            self._tell("transfer_fail", row["external_userid"], row["takeover_userid"], **said)
        else:
            self._hand_over(row)

    def settle_transfers(self) -> None:
        """Whoever does not refuse within a day has agreed."""
        for row in list(self._transfers):
            if row["status"] == _WAITING and self._simulator.clock.monotonic() >= row["ends"]:
                self.answer_transfer(row["id"], refused=False)

    # -- calls --------------------------------------------------------------------------------------------------------

    def _followers(self, call: Call) -> dict[str, Any]:
        found = {userid for row in self._contacts for userid in row["follow"]}
        return {"follow_user": sorted(found)}

    def _list(self, call: Call) -> dict[str, Any]:
        userid = str(call.need("userid", 41009))
        ids = [row["external_userid"] for row in self._contacts if userid in row["follow"]]
        if not ids:
            raise Denied(84061, "not external contact")
        return {"external_userid": ids}

    def _get(self, call: Call) -> dict[str, Any]:
        row = self._shown(str(call.need("external_userid", 41035)))
        start = int(call.query.get("cursor") or 0)
        infos = [row["follow"][userid] for userid in sorted(row["follow"])]
        page = infos[start : start + _FOLLOWERS_A_PAGE]
        more = str(start + _FOLLOWERS_A_PAGE) if start + _FOLLOWERS_A_PAGE < len(infos) else ""
        contact = {name: value for name, value in row.items() if name != "follow"}
        followers = [{**info, "tags": [self._tag(id) for id in info["tags"]]} for info in page]
        return {"external_contact": contact, "follow_user": followers, **({"next_cursor": more} if more else {})}

    def _batch(self, call: Call) -> dict[str, Any]:
        users = call.need("userid_list", 40031)
        limit = min(int(call.body.get("limit") or 50), 100)
        if len(users) > 100:
            raise Denied(40032, "userid list too long")
        pairs = [(userid, row) for userid in users for row in self._contacts if userid in row["follow"]]
        start = int(call.body.get("cursor") or 0)
        listed = [
            {
                "external_contact": {name: value for name, value in row.items() if name != "follow"},
                "follow_info": {**_without_tags(row["follow"][userid]), "tag_id": row["follow"][userid]["tags"]},
            }
            for userid, row in pairs[start : start + limit]
        ]
        return {
            "external_contact_list": listed,
            "next_cursor": str(start + limit) if start + limit < len(pairs) else "",
        }

    def _remark(self, call: Call) -> dict[str, Any]:
        row, info = self._followed(call)
        given = call.body
        names = {"remark": "remark", "description": "description", "remark_company": "remark_corp_name"}
        changed = {ours: given[name] for name, ours in names.items() if name in given}
        if "remark_mobiles" in given:
            changed["remark_mobiles"] = [one for one in given["remark_mobiles"] if one]
        self._know(row, {**info, **changed})
        return {}

    def _mark(self, call: Call) -> dict[str, Any]:
        row, info = self._followed(call)
        add, remove = call.body.get("add_tag") or [], call.body.get("remove_tag") or []
        if any(self._tags.get(id) is None for id in (*add, *remove)):
            raise Denied(40068, "invalid tagid")
        tags = [id for id in dict.fromkeys([*info["tags"], *add]) if id not in remove]
        self._know(row, {**info, "tags": tags})
        return {}

    def _tag_list(self, call: Call) -> dict[str, Any]:
        groups: dict[str, Row] = {}
        for row in self._tags:
            group = groups.setdefault(
                row["group_id"],
                {"group_id": row["group_id"], "group_name": row["group_name"], "order": 1, "deleted": False, "tag": []},
            )
            group["tag"].append({name: row[name] for name in ("id", "name", "create_time", "order", "deleted")})
        return {"tag_group": list(groups.values())}

    def _chat_list(self, call: Call) -> dict[str, Any]:
        limit = int(call.need("limit", 40035))
        after = str(call.body.get("cursor") or "")
        rows = list(self._chats.after(after or None))
        page = [{"chat_id": row["chat_id"], "status": row["status"]} for row in rows[:limit]]
        return {"group_chat_list": page, "next_cursor": page[-1]["chat_id"] if len(rows) > limit else ""}

    def _chat_get(self, call: Call) -> dict[str, Any]:
        row = self._simulator.shown("group_chat", str(call.need("chat_id", 86001)))
        if row is None:
            raise Denied(86001, "invalid chatid")
        return {"group_chat": {name: value for name, value in row.items() if name != "status"}}

    def _transfer(self, call: Call) -> dict[str, Any]:
        over, to = str(call.need("handover_userid", 40003)), str(call.need("takeover_userid", 40003))
        if self._simulator.people.member(to) is None:
            raise Denied(40003, "invalid takeover userid")
        answers = []
        for id in call.need("external_userid", 41035):
            row = self._contacts.get(id)
            key = f"{over}>{to}>{id}"
            held = self._transfers.get(key)
            code = 0
            if row is None or over not in row["follow"]:
                code = 40096
            elif held is not None and held["status"] == _WAITING:
                code = 40100
            else:
                made: Row = {"id": key, "handover_userid": over, "takeover_userid": to, "external_userid": id,
                             "status": _WAITING, "takeover_time": 0,
                             "ends": self._simulator.clock.monotonic() + _WAITING_SECONDS}  # fmt: skip
                self._simulator.commit("create", "transfer", key, made)
            answers.append({"external_userid": id, "errcode": code})
        return {"customer": answers}

    def _transfer_result(self, call: Call) -> dict[str, Any]:
        self.settle_transfers()
        pair = (call.need("handover_userid", 40003), call.need("takeover_userid", 40003))
        names = ("external_userid", "status", "takeover_time")
        found = [row for row in self._transfers if (row["handover_userid"], row["takeover_userid"]) == pair]
        return {"customer": [{name: row[name] for name in names} for row in found], "next_cursor": ""}

    # -- inner --------------------------------------------------------------------------------------------------------

    def _shown(self, id: str) -> Row:
        row = self._simulator.shown("external_contact", id)
        if row is None:
            raise Denied(84061, "not external contact")
        return row

    def _followed(self, call: Call) -> tuple[Row, Row]:
        row = self._contacts.get(str(call.need("external_userid", 41035)))
        userid = str(call.need("userid", 41009))
        if row is None or userid not in row["follow"]:
            raise Denied(84061, "not external contact")
        return row, row["follow"][userid]

    def _know(self, row: Row, info: Row) -> None:
        after = {**row, "follow": {**row["follow"], info["userid"]: info}}
        self._simulator.commit("update", "external_contact", row["external_userid"], after)

    def _hand_over(self, transfer: Row) -> None:
        row = self._contacts.get(transfer["external_userid"])
        over, to = transfer["handover_userid"], transfer["takeover_userid"]
        if row is None or over not in row["follow"]:
            return
        follow = {userid: info for userid, info in row["follow"].items() if userid != over}
        follow[to] = {**row["follow"][over], "userid": to, "add_way": 202}
        self._simulator.commit("update", "external_contact", row["external_userid"], {**row, "follow": follow},
                               actor="person")  # fmt: skip
        self._tell("add_external_contact", row["external_userid"], to)

    def _tag(self, id: str) -> Row:
        row = self._tags.get(id) or {"group_name": "", "name": ""}
        return {"group_name": row["group_name"], "tag_name": row["name"], "tag_id": id, "type": 1}

    def _tell(self, change: str, id: str, userid: str, **more: object) -> None:
        said = {"UserID": userid, "ExternalUserID": id, **more}
        self._simulator.tell("change_external_contact", said, change=change)


def _without_tags(info: Mapping[str, Any]) -> Row:
    return {name: value for name, value in info.items() if name != "tags"}
