"""Simulated approvals: applications against templates, their way from node to node, and the people who decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from connectors.wecom.simulator_forms import Template, Validator, stock_templates
from connectors.wecom.simulator_gate import Call, Denied
from hub.connector.table import Row, Table

if TYPE_CHECKING:
    from connectors.wecom.simulator import WeComSimulator

_LONGEST_WINDOW = 31 * 86_400  # seconds
_PENDING, _PASSED, _REFUSED, _WITHDRAWN, _WITHDRAWN_LATER, _DELETED, _PAID = 1, 2, 3, 4, 6, 7, 10
_WAITS, _AGREED, _SAID_NO, _FORWARDED = 1, 2, 3, 4


class Approvals:
    """The approval app's desk. `short_pages` gives pages shorter than asked for, as the documents allow."""

    def __init__(self, simulator: WeComSimulator) -> None:
        self._simulator = simulator
        self.templates = stock_templates()
        self.short_pages = False
        self._last: dict[str, int] = {}
        for template in self.templates:
            simulator.tables[f"approval:{template.alias}"] = Table(ordered=("apply_time",))

    def handlers(self) -> dict[str, Callable[[Call], dict[str, Any]]]:
        return {
            "oa/gettemplatedetail": self._template_detail,
            "oa/applyevent": self._apply,
            "oa/getapprovalinfo": self._info,
            "oa/getapprovaldetail": self._detail,
        }

    # -- calls --------------------------------------------------------------------------------------------------------

    def _template_detail(self, call: Call) -> dict[str, Any]:
        return self._template(str(call.need("template_id", 40035))).detail()

    def _apply(self, call: Call) -> dict[str, Any]:
        template = self._template(str(call.need("template_id", 40035)))
        creator = self._simulator.people.member(str(call.need("creator_userid", 41009)))
        if creator is None:
            raise Denied(301025, "invalid creator_userid")
        validator = Validator(template, self._simulator.media.has)
        contents = validator.contents((call.body.get("apply_data") or {}).get("contents"))
        self._summary(call.body.get("summary_list"))
        nodes, cc = self._flow(template, call.body)
        return {"sp_no": self.start(template, creator["userid"], contents, nodes, cc, actor="api")}

    def _info(self, call: Call) -> dict[str, Any]:
        start, end = int(call.need("starttime", 301025)), int(call.need("endtime", 301025))
        size = int(call.body.get("size") or 100)
        if end - start > _LONGEST_WINDOW or start > end or size > 100:
            raise Denied(301025, "time range or size exceeds the limit")
        wanted: dict[str, set[str]] = {}
        for one in call.body.get("filters") or []:
            wanted.setdefault(one["key"], set()).add(str(one["value"]))
        found = [
            row
            for template in self.templates
            if "template_id" not in wanted or template.id in wanted["template_id"]
            for row in self._simulator.table(f"approval:{template.alias}").between("apply_time", start, end + 1)
            if self._passes(row, wanted) and self._simulator.findable(f"approval:{template.alias}", row["sp_no"])
        ]
        after = str(call.body.get("new_cursor") or "")
        rest = (row["sp_no"] for row in sorted(found, key=lambda row: row["sp_no"]) if row["sp_no"] > after)
        asked = max(1, size - 1) if self.short_pages else size
        page = list(islice(rest, asked))
        more = next(rest, None) is not None
        return {"sp_no_list": page, **({"new_next_cursor": page[-1]} if more else {})}

    def _detail(self, call: Call) -> dict[str, Any]:
        number = str(call.need("sp_no", 301025))
        for template in self.templates:
            row = self._simulator.shown(f"approval:{template.alias}", number)
            if row is not None:
                return {"info": self._seen(row)}
        raise Denied(301025, "invalid sp_no")

    # -- what the engine does -----------------------------------------------------------------------------------------

    def start(
        self,
        template: Template,
        creator: str,
        contents: list[dict[str, Any]],
        nodes: Sequence[Mapping[str, Any]],
        cc: Sequence[str],
        *,
        actor: str,
        at: int | None = None,
        number: str | None = None,
    ) -> str:
        """Put an application on its way; its number."""
        stamp = (at if at is not None else self._simulator.stamp()) // 1000
        number = number or self._number(stamp)
        row: Row = {
            "sp_no": number,
            "sp_name": template.name,
            "sp_status": _PENDING,
            "template_id": template.id,
            "apply_time": stamp,
            "applyer": {"userid": creator, "partyid": "1"},
            "nodes": [{"any": node["any"], "people": [_person(userid) for userid in node["userid"]]} for node in nodes],
            "notifyer": [{"userid": userid} for userid in cc],
            "contents": contents,
            "comments": [],
        }
        self._simulator.commit("create", f"approval:{template.alias}", number, row, actor=actor)
        if actor != "seed":
            self._tell(template, row, 1)
        return number

    def act(self, alias: str, number: str, deed: str, actor: str, opinion: str, fields: Mapping[str, Any]) -> None:
        """What a person does with an application: agree, refuse, transfer (fields: to), withdraw, comment, pay, edit
        (fields by title), delete. Raises ValueError with a sentence."""
        template = next((one for one in self.templates if one.alias == alias), None)
        row = self._simulator.table(f"approval:{alias}").get(number) if template else None
        if template is None or row is None:
            raise ValueError(f"there is no approval {number} of {alias}")
        row = {**row, "nodes": [{**node, "people": [dict(one) for one in node["people"]]} for node in row["nodes"]]}
        now = self._simulator.stamp() // 1000
        event = _EVENTS.get(deed)
        match deed:
            case "agree" | "refuse":
                self._decide(row, actor, deed, opinion, now)
            case "transfer":
                node = self._current(row)
                person = self._waiting(node, actor)
                person |= {"sp_status": _FORWARDED, "speech": opinion, "sptime": now}
                node["people"].append(_person(str(fields["to"])))
            case "withdraw":
                if row["sp_status"] not in (_PENDING, _PASSED):
                    raise ValueError("only what waits or has passed can be withdrawn")
                later = row["sp_status"] == _PASSED
                row["sp_status"], event = (_WITHDRAWN_LATER, 8) if later else (_WITHDRAWN, 6)
            case "comment":
                said = {"commentUserInfo": {"userid": actor}, "commenttime": now, "commentcontent": opinion}
                row["comments"] = [*row["comments"], {**said, "commentid": f"c{len(row['comments']) + 1}"}]
            case "pay":
                row["sp_status"] = _PAID
            case "delete":
                row["sp_status"] = _DELETED
            case "edit":
                row["contents"] = _edited(row["contents"], fields)
            case _:
                raise ValueError(f"nobody can {deed} an approval")
        self._simulator.commit(deed, f"approval:{alias}", number, row, actor=actor)
        if event is not None:
            self._tell(template, row, event)

    def _decide(self, row: Row, actor: str, deed: str, opinion: str, now: int) -> None:
        node = self._current(row)
        person = self._waiting(node, actor)
        person |= {"sp_status": _AGREED if deed == "agree" else _SAID_NO, "speech": opinion, "sptime": now}
        if deed == "refuse":
            row["sp_status"] = _REFUSED
        elif self._current_or_none(row) is None:
            row["sp_status"] = _PASSED

    def _current_or_none(self, row: Row) -> dict[str, Any] | None:
        for node in row["nodes"]:
            states = [one["sp_status"] for one in node["people"] if one["sp_status"] != _FORWARDED]
            done = any(state == _AGREED for state in states) if node["any"] else all(s == _AGREED for s in states)
            if not done:
                found: dict[str, Any] = node
                return found
        return None

    def _current(self, row: Row) -> dict[str, Any]:
        node = self._current_or_none(row)
        if row["sp_status"] != _PENDING or node is None:
            raise ValueError(f"approval {row['sp_no']} is decided already")
        return node

    def _waiting(self, node: Mapping[str, Any], actor: str) -> dict[str, Any]:
        for person in node["people"]:
            if person["userid"] == actor and person["sp_status"] == _WAITS:
                found: dict[str, Any] = person
                return found
        raise ValueError(f"it does not wait for {actor}")

    # -- inner --------------------------------------------------------------------------------------------------------

    def _template(self, id: str) -> Template:
        found = next((template for template in self.templates if template.id == id), None)
        if found is None:
            raise Denied(301026, "template not found or not visible")
        return found

    def _flow(self, template: Template, body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
        if body.get("use_template_approver", 0) == 1:
            return [{"any": template.any_of, "userid": list(people)} for people in template.flow], list(template.cc)
        given = (body.get("process") or {}).get("node_list")
        if not given:
            raise Denied(301025, "process is required when use_template_approver is 0")
        nodes = [{"any": one.get("apv_rel") == 2, "userid": one["userid"]} for one in given if one["type"] == 1]
        cc = [userid for one in given if one["type"] == 2 for userid in one["userid"]]
        everyone = [userid for one in given for userid in one["userid"]]
        if not nodes or any(self._simulator.people.member(userid) is None for userid in everyone):
            raise Denied(301025, "invalid approver")
        return nodes, cc

    def _summary(self, given: Any) -> None:
        if not isinstance(given, list) or not 1 <= len(given) <= 3:
            raise Denied(301025, "summary_list must have 1 to 3 lines")

    def _passes(self, row: Row, wanted: Mapping[str, set[str]]) -> bool:
        seen = {"sp_status": str(row["sp_status"]), "creator": row["applyer"]["userid"]}
        return all(seen[key] in values for key, values in wanted.items() if key in seen)

    def _number(self, stamp: int) -> str:
        day = time.strftime("%Y%m%d", time.gmtime(stamp + 8 * 3600))
        self._last[day] = self._last.get(day, 0) + 1
        return f"{day}{self._last[day]:04d}"

    def _seen(self, row: Row) -> Row:
        nodes = row["nodes"]
        records = [
            {
                "sp_status": _state_of(node),
                "approverattr": 1 if node["any"] else 2,
                "details": [
                    {"approver": {"userid": one["userid"]}, "media_id": [], **_without(one, "userid")}
                    for one in node["people"]
                ],
            }
            for node in nodes
        ]
        hidden = ("nodes", "contents")
        return {**_without(row, *hidden), "sp_record": records, "apply_data": {"contents": row["contents"]}}

    def _tell(self, template: Template, row: Row, event: int) -> None:
        seen = self._seen(row)
        info = {
            "SpNo": row["sp_no"],
            "SpName": row["sp_name"],
            "SpStatus": row["sp_status"],
            "TemplateId": template.id,
            "ApplyTime": row["apply_time"],
            "Applyer": {"UserId": row["applyer"]["userid"], "Party": "1"},
            "SpRecord": [
                {
                    "SpStatus": record["sp_status"],
                    "ApproverAttr": record["approverattr"],
                    "Details": [
                        {"Approver": {"UserId": one["approver"]["userid"]}, "Speech": one["speech"],
                         "SpStatus": one["sp_status"], "SpTime": one["sptime"]}
                        for one in record["details"]
                    ],
                }
                for record in seen["sp_record"]
            ],
            "StatuChangeEvent": event,
        }  # fmt: skip
        self._simulator.tell("sys_approval_change", {"AgentID": 3010040, "ApprovalInfo": info})


_EVENTS = {"agree": 2, "refuse": 3, "transfer": 4, "comment": 10}


def _person(userid: str) -> dict[str, Any]:
    return {"userid": userid, "speech": "", "sp_status": _WAITS, "sptime": 0}


def _state_of(node: Mapping[str, Any]) -> int:
    states = [one["sp_status"] for one in node["people"] if one["sp_status"] != _FORWARDED]
    if _SAID_NO in states:
        return _SAID_NO
    agreed = [state == _AGREED for state in states]
    return _AGREED if (any(agreed) if node["any"] else all(agreed)) else _WAITS


def _edited(contents: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Text controls with other texts, as an approver with that right may leave them."""
    unknown = set(fields) - {one["title"][0]["text"] for one in contents}
    if unknown:
        raise ValueError(f"the form has no {', '.join(sorted(unknown))}")
    return [
        {**one, "value": {"text": fields[title]}} if (title := one["title"][0]["text"]) in fields else dict(one)
        for one in contents
    ]


def _without(row: Mapping[str, Any], *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
