"""Approval templates of the simulated platform, and what it accepts as the values of their controls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.wecom.simulator_gate import Denied

_MOST_FILES = 6
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Template:
    """One approval template. `alias` is what the demo settings call it; `flow` its approvers, a list of userids a node;
    `any_of` tells whether one approver of a node is enough."""

    alias: str
    id: str
    name: str
    controls: Sequence[Mapping[str, Any]]
    flow: Sequence[Sequence[str]] = (("lisi",),)
    any_of: bool = True
    cc: Sequence[str] = ()

    def detail(self) -> dict[str, Any]:
        return {
            "template_names": [{"text": self.name, "lang": "zh_CN"}],
            "template_content": {"controls": list(self.controls)},
        }


def control(kind: str, id: str, title: str, *, require: bool = False, **config: Any) -> dict[str, Any]:
    """One control as gettemplatedetail shows it."""
    text = [{"text": title, "lang": "zh_CN"}]
    placeholder = [{"text": "", "lang": "zh_CN"}]
    shape = {"control": kind, "id": f"{kind}-{id}", "title": text, "placeholder": placeholder}
    return {"property": {**shape, "require": int(require), "un_print": 0}, "config": config}


def options(*pairs: tuple[str, str], kind: str = "single") -> dict[str, Any]:
    """A Selector's configuration."""
    listed = [{"key": key, "value": [{"text": text, "lang": "zh_CN"}]} for key, text in pairs]
    return {"selector": {"type": kind, "options": listed}}


def stock_templates() -> list[Template]:
    """A discount approval with lines and attachments, and a contract approval with two approvers one after another."""
    lines = [
        control("Text", "1001", "产品"),
        control("Number", "1002", "数量"),
        control("Money", "1003", "成交价"),
    ]
    discount = Template(
        "discount",
        "3TkZuhTx1B8j3Rp4xCzNEeJ1oX7xLNvNgPUyHVwe",
        "折扣审批",
        [
            control("Text", "1569573770001", "报价单号", require=True),
            control("Text", "1569573770002", "客户", require=True),
            control("Money", "1569573770003", "报价金额", require=True),
            control("Number", "1569573770004", "折扣"),
            control("Date", "1569573770005", "有效期至", date={"type": "day"}),
            control("Selector", "1569573770006", "紧急程度", **options(("option-1", "普通"), ("option-2", "加急"))),
            control("Textarea", "1569573770007", "说明"),
            control("Table", "1569573770008", "产品明细", table={"children": lines}),
            control("File", "1569573770009", "附件"),
            control("Contact", "1569573770010", "销售", contact={"type": "single", "mode": "user"}),
            control("Tips", "1569573770012", "提示"),
            control("Text", "1569573770011", "集成键"),
        ],
    )
    contract = Template(
        "contract",
        "C4NyxvpGSgDfWhNkn6dTfYLEtVQMLqpjNePgnFdr7",
        "合同审批",
        [
            control("Text", "1600000000001", "合同编号", require=True),
            control("Money", "1600000000002", "合同金额"),
            control("Text", "1600000000003", "集成键"),
        ],
        flow=(("lisi",), ("wangwu", "zhaoliu")),
        any_of=False,
    )
    return [discount, contract]


@dataclass(slots=True)
class Validator:
    """Checks an application against its template, as the platform does before it takes it."""

    template: Template
    has_file: Callable[[str], bool]
    _files: int = field(default=0)

    def contents(self, given: Any) -> list[dict[str, Any]]:
        """What is stored of `apply_data.contents`, with titles. Raises Denied."""
        if not isinstance(given, list):
            raise Denied(40058, "apply_data.contents must be a list")
        return self._fill(self.template.controls, given)

    def _fill(self, controls: Sequence[Mapping[str, Any]], given: Sequence[Any]) -> list[dict[str, Any]]:
        known = {shape["property"]["id"]: shape for shape in controls}
        values: dict[str, Any] = {}
        for item in given:
            if not isinstance(item, dict) or item.get("id") not in known:
                raise Denied(301025, f"control not in template: {item.get('id') if isinstance(item, dict) else item}")
            shape = known[item["id"]]
            if item.get("control") != shape["property"]["control"]:
                raise Denied(301025, f"control type not match: {item['id']}")
            values[item["id"]] = self._value(shape, item.get("value"))
        stored = []
        for id, shape in known.items():
            kind = shape["property"]["control"]
            if kind == "Tips":
                continue
            if shape["property"]["require"] and not _filled(values.get(id)):
                title = shape["property"]["title"][0]["text"]
                raise Denied(301025, f"require control value empty: {id} {title}")
            value = values.get(id) or _empty(kind)
            stored.append({"control": kind, "id": id, "title": shape["property"]["title"], "value": value})
        return stored

    def _value(self, shape: Mapping[str, Any], value: Any) -> dict[str, Any]:
        kind, id = shape["property"]["control"], shape["property"]["id"]
        if not isinstance(value, dict):
            raise Denied(301025, f"value of {id} must be an object")
        match kind:
            case "Text" | "Textarea":
                self._require(isinstance(value.get("text"), str), id)
            case "Number":
                self._require(_NUMBER.fullmatch(str(value.get("new_number"))), id)
            case "Money":
                self._require(_NUMBER.fullmatch(str(value.get("new_money"))), id)
            case "Date":
                date = value.get("date") or {}
                self._require(date.get("type") == shape["config"]["date"]["type"], id)
                self._require(isinstance(date.get("s_timestamp"), str) and date["s_timestamp"].isdigit(), id)
            case "Selector":
                chosen = [one.get("key") for one in (value.get("selector") or {}).get("options") or []]
                allowed = {one["key"] for one in shape["config"]["selector"]["options"]}
                self._require(chosen and set(chosen) <= allowed, id)
                self._require(len(chosen) == 1 or shape["config"]["selector"]["type"] == "multi", id)
            case "Contact":
                self._require(value.get("members") or value.get("departments"), id)
            case "File":
                for one in value.get("files") or []:
                    if not self.has_file(str(one.get("file_id"))):
                        raise Denied(40007, "invalid media_id")
                    self._files += 1
                self._require(self._files <= _MOST_FILES, id)
            case "Table":
                return self._table(shape, value)
        return value

    def _table(self, shape: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
        controls = shape["config"]["table"]["children"]
        rows = value.get("children")
        if not isinstance(rows, list):
            raise Denied(301025, "children of a table must be a list")
        return {"children": [{"list": self._fill(controls, row.get("list") or [])} for row in rows]}

    def _require(self, held: object, id: str) -> None:
        if not held:
            raise Denied(301025, f"invalid value of {id}")


def _filled(value: Any) -> bool:
    return isinstance(value, dict) and any(member not in (None, "", [], {}) for member in value.values())


def _empty(kind: str) -> dict[str, Any]:
    """A control that nobody filled in still stands in the form."""
    keys = {"Text": "text", "Textarea": "text", "Number": "new_number", "Money": "new_money"}
    lists = {"Contact": "members", "File": "files", "Table": "children"}
    if kind in keys:
        return {keys[kind]: ""}
    return {lists[kind]: []} if kind in lists else {}
