"""The simulated address book: departments and members, what an app may see of them, and the events of their changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from connectors.wecom.simulator_gate import Call, Denied
from hub.connector.table import Row

if TYPE_CHECKING:
    from connectors.wecom.simulator import WeComSimulator

# What an app made since 2022-06-20 does not get from user/get and user/list.
_PRIVATE = ("avatar", "gender", "mobile", "email", "biz_mail", "qr_code", "address")
_USERID = re.compile(r"[0-9A-Za-z_@.-]{1,64}")
_WRITABLE = ("name", "alias", "mobile", "department", "position", "gender", "email", "biz_mail", "telephone",
             "english_name", "main_department", "direct_leader", "is_leader_in_dept", "enable", "address")  # fmt: skip


class People:
    """The address book's desk. `private=False` is an app from before the privacy rules."""

    def __init__(self, simulator: WeComSimulator) -> None:
        self._simulator = simulator
        self.private = True
        self.wrong_numbers = 0
        self._departments = simulator.table("department")
        self._members = simulator.table("member")

    def handlers(self) -> dict[str, Callable[[Call], dict[str, Any]]]:
        return {
            "user/get": self._get,
            "user/simplelist": self._simple,
            "user/list": self._list,
            "user/list_id": self._ids,
            "user/getuserid": self._by_mobile,
            "user/get_userid_by_email": self._by_email,
            "user/create": self._create,
            "user/update": self._update,
            "user/delete": self._delete,
            "department/list": self._department_list,
            "department/simplelist": self._department_simple,
            "department/get": self._department_get,
        }

    # -- the vendor's own rules ---------------------------------------------------------------------------------------

    def member(self, userid: str) -> Row | None:
        """A member by id, whatever the case of its letters."""
        found = self._members.get(userid)
        if found is None:
            low = userid.lower()
            found = next((row for row in self._members if str(row["userid"]).lower() == low), None)
        return found

    def save_member(self, userid: str, fields: Mapping[str, Any], *, actor: str, new: bool) -> Row:
        """Create or change a member by the vendor's rules. Raises Denied."""
        if not _USERID.fullmatch(userid):
            raise Denied(40003, "invalid userid")
        before = self.member(userid)
        if new and before is not None:
            raise Denied(60102, f"userid existed: {userid}")
        if not new and before is None:
            raise Denied(60111, f"userid not found: {userid}")
        row: Row = {"userid": userid, "status": 1, "main_department": 1, **(before or {})}
        row |= {name: value for name, value in fields.items() if name in _WRITABLE}
        if not row.get("name") or len(str(row["name"])) > 64:
            raise Denied(60112, "invalid name")
        departments = row.get("department") or [1]
        if len(departments) > 20:
            raise Denied(60110, "user in too many departments")
        if any(str(one) not in self._departments for one in departments):
            raise Denied(60123, "invalid party id")
        row["department"] = [int(one) for one in departments]
        if row["main_department"] not in row["department"]:
            row["main_department"] = row["department"][0]
        mobile = row.get("mobile")
        if mobile and not re.fullmatch(r"\+?[0-9]{5,20}", str(mobile)):
            raise Denied(60103, "invalid mobile")
        for other in self._members.equal("mobile", mobile) if mobile else ():
            if other["userid"] != row["userid"]:
                raise Denied(60104, "mobile existed")
        self._simulator.commit("update" if before else "create", "member", row["userid"], row, actor=actor)
        if actor != "api":
            shown = row if not self.private else {name: row.get(name) for name in ("userid", "department")}
            self._tell("update_user" if before else "create_user", shown)
        return row

    def delete_member(self, userid: str, *, actor: str) -> None:
        row = self.member(userid)
        if row is None:
            raise Denied(60111, f"userid not found: {userid}")
        self._simulator.commit("delete", "member", row["userid"], None, actor=actor)
        if actor != "api":
            self._simulator.tell("change_contact", {"UserID": row["userid"]}, change="delete_user")

    def rename_member(self, userid: str, new: str) -> None:
        """An administrator gives a member another userid: the old one is gone."""
        row = self.member(userid)
        if row is None or self.member(new) is not None:
            raise ValueError(f"{userid} can't become {new}")
        self._simulator.commit("delete", "member", userid, None, actor="person")
        self._simulator.commit("create", "member", new, {**row, "userid": new}, actor="person")
        self._simulator.tell("change_contact", {"UserID": userid, "NewUserID": new}, change="update_user")

    def save_department(self, id: int, fields: Mapping[str, Any], *, actor: str) -> Row:
        before = self._departments.get(str(id))
        row: Row = {"id": id, "name_en": "", "parentid": 1, "order": 100, "department_leader": [], **(before or {})}
        row |= fields
        row["id"] = id
        if str(row["parentid"]) not in self._departments and row["parentid"] != 0:
            raise Denied(60003, "department not found")
        self._simulator.commit("update" if before else "create", "department", str(id), row, actor=actor)
        if actor not in ("api", "seed"):
            said = {"Id": id, "Name": row["name"], "ParentId": row["parentid"], "Order": row["order"]}
            self._simulator.tell("change_contact", said, change="update_party" if before else "create_party")
        return row

    def delete_department(self, id: int) -> None:
        if self._departments.get(str(id)) is None:
            raise ValueError(f"there is no department {id}")
        self._simulator.commit("delete", "department", str(id), None, actor="person")
        self._simulator.tell("change_contact", {"Id": id}, change="delete_party")

    def in_department(self, id: int) -> list[Row]:
        return [row for row in self._members if id in row["department"]]

    # -- calls --------------------------------------------------------------------------------------------------------

    def _get(self, call: Call) -> dict[str, Any]:
        row = self.member(str(call.need("userid", 41009)))
        if row is None:
            raise Denied(60111, "userid not found")
        return self._seen(self._simulator.shown("member", row["userid"]) or row)

    def _simple(self, call: Call) -> dict[str, Any]:
        rows = self._of(call)
        keys = ("userid", "name", "department")
        return {"userlist": [{**{key: row[key] for key in keys}, "open_userid": ""} for row in rows]}

    def _list(self, call: Call) -> dict[str, Any]:
        return {"userlist": [self._seen(row) for row in self._of(call)]}

    def _ids(self, call: Call) -> dict[str, Any]:
        """One row for each member and department, by an opaque cursor."""
        if call.app != "contact":
            raise Denied(48002, "api forbidden")
        limit = int(call.body.get("limit") or 10_000)
        pairs = [(row["userid"], one) for row in self._members for one in row["department"]]
        start = int(call.body.get("cursor") or 0)
        page = pairs[start : start + limit]
        following = str(start + limit) if start + limit < len(pairs) else ""
        return {"next_cursor": following, "dept_user": [{"userid": one, "department": dep} for one, dep in page]}

    def _by_mobile(self, call: Call) -> dict[str, Any]:
        found = self._members.equal("mobile", str(call.need("mobile", 41009)))
        visible = [row for row in found if self._simulator.findable("member", row["userid"])]
        if not visible:
            self.wrong_numbers += 1
            raise Denied(46004, "user not exist")
        return {"userid": visible[0]["userid"]}

    def _by_email(self, call: Call) -> dict[str, Any]:
        wanted = str(call.need("email", 41009))
        field = "biz_mail" if int(call.body.get("email_type") or 1) == 1 else "email"
        for row in self._members:
            if row.get(field) == wanted:
                return {"userid": row["userid"]}
        raise Denied(46004, "user not exist")

    def _create(self, call: Call) -> dict[str, Any]:
        self._may_write(call)
        self.save_member(str(call.need("userid", 41009)), call.body, actor="api", new=True)
        return {}

    def _update(self, call: Call) -> dict[str, Any]:
        self._may_write(call)
        self.save_member(str(call.need("userid", 41009)), call.body, actor="api", new=False)
        return {}

    def _delete(self, call: Call) -> dict[str, Any]:
        self._may_write(call)
        self.delete_member(str(call.need("userid", 41009)), actor="api")
        return {}

    def _department_list(self, call: Call) -> dict[str, Any]:
        return {"department": self._below(call)}

    def _department_simple(self, call: Call) -> dict[str, Any]:
        keys = ("id", "parentid", "order")
        return {"department_id": [{key: row[key] for key in keys} for row in self._below(call)]}

    def _department_get(self, call: Call) -> dict[str, Any]:
        row = self._departments.get(str(call.need("id", 40066)))
        if row is None:
            raise Denied(60123, "invalid party id")
        return {"department": row}

    # -- inner --------------------------------------------------------------------------------------------------------

    def _of(self, call: Call) -> list[Row]:
        id = int(call.need("department_id", 40066))
        if str(id) not in self._departments:
            raise Denied(60123, "invalid party id")
        return self.in_department(id)

    def _below(self, call: Call) -> list[Row]:
        top = int(call.query.get("id") or 1)
        found = {top}
        rows = sorted(self._departments, key=lambda row: int(row["id"]))
        while new := {row["id"] for row in rows if row["parentid"] in found} - found:
            found |= new
        return [row for row in rows if row["id"] in found]

    def _seen(self, row: Row) -> Row:
        return {name: value for name, value in row.items() if not (self.private and name in _PRIVATE)}

    def _tell(self, change: str, row: Mapping[str, Any]) -> None:
        names = {"userid": "UserID", "name": "Name", "mobile": "Mobile", "position": "Position", "alias": "Alias"}
        said: dict[str, object] = {names[name]: value for name, value in row.items() if name in names}
        said["Department"] = ",".join(str(one) for one in row.get("department") or ())
        self._simulator.tell("change_contact", said, change=change)

    def _may_write(self, call: Call) -> None:
        if call.app != "contact":
            raise Denied(48002, "api forbidden")
