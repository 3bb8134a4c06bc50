"""The simulated tenant: its records and the rules by which they are created, changed, invalidated and shown."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from connectors.crm.fxiaoke.simulator_describe import (
    NUMBERS,
    ZONE_MS,
    FieldInfo,
    ObjectInfo,
    Refused,
    decimal_text,
    stock_tenant,
    stored,
)
from hub.connector.table import Row, Table

WHOLE_COMPANY = "999999"


@dataclass(slots=True)
class Switches:
    """What the vendor's documents leave open, or what a test wants otherwise."""

    strict_trace: bool = False  # refuse a call without thirdTraceId
    refuse_owner_update: bool = False  # refuse instead of ignore
    details_on_update: str = "replace"  # or "ignore"
    detail_ids_at: str = ""  # top-level key under which created detail ids are returned; "" leaves them out
    get_invalid: str = "record"  # or "missing": what get answers for an invalidated record
    create_answers_id: bool = True  # some custom objects leave dataId out
    empty_as_text: bool = False  # old samples return "" for empty values
    duplicate_fields: dict[str, list[str]] = field(default_factory=dict)
    duplicate_by_default: bool = False
    required_custom: set[str] = field(default_factory=set)
    personnel_shared: bool = True


@dataclass(slots=True)
class Rights:
    """What one employee may not do or see; everything else is allowed."""

    objects: set[str] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    read_only: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and through what: the API, or a person in the vendor's own screens (the side door)."""

    user: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class WriteFlags:
    approval: bool = True
    workflow: bool = True
    own_time: bool = False
    own_creator: bool = False
    duplicate_search: bool = False
    skip_status: bool = False


class Ground(Protocol):
    """What the tenant stands on: the simulator's store, journal and clock."""

    def table(self, object: str) -> Table: ...

    def put(self, operation: str, object: str, row: Row, actor: Actor, *, gone: bool = False) -> None:
        """Commit a record (`gone`: it leaves the live records), journal it and tell whoever listens."""
        ...

    def now(self) -> int: ...

    def stamp(self) -> int: ...


class Tenant:
    """Records of all objects, live ones in the simulator's tables, invalidated ones in the recycle bin."""

    def __init__(self, ground: Ground, ea: str = "demoea", tenant_id: str = "590163") -> None:
        self.ea = ea
        self.tenant_id = tenant_id
        self.switches = Switches()
        self.rights: dict[str, Rights] = {}
        self.approvals: list[dict[str, Any]] = []
        self.workflow_runs: list[dict[str, Any]] = []
        self.objects: dict[str, ObjectInfo] = {}
        self.numbers: dict[str, frozenset[str]] = {}
        self.recycled: dict[str, dict[str, Row]] = {}
        self._ground = ground
        self._counter = 0
        self._running: dict[str, int] = {}
        self._random = secrets.token_hex(5)
        for info in stock_tenant().values():
            self.add_object(info)

    def add_object(self, info: ObjectInfo) -> None:
        """Make an object known to the tenant; its table starts empty."""
        numbers = {name for name, given in info.fields.items() if given.type in NUMBERS | {"formula", "count"}}
        self.objects[info.name] = info
        self.numbers[info.name] = frozenset(numbers)
        self.recycled[info.name] = {}

    # --- writes -------------------------------------------------------------------------------------------------

    def create(
        self, name: str, data: Mapping[str, Any], details: Mapping[str, Any], actor: Actor, flags: WriteFlags
    ) -> tuple[str, dict[str, list[str]]]:
        """Create a record with its details, all or nothing. Answers the id and the details' ids."""
        self.may_write(name, actor)
        row = self._new(name, data, actor, flags)
        self._check_duplicate(name, row, flags)
        made: list[tuple[str, Row]] = [(name, row)]
        for detail, items in details.items():
            info = self.object(detail)
            if info.master != name or info.master_field is None:
                raise Refused("query", f"{detail}不是{name}的从对象")
            if not isinstance(items, list):
                raise Refused("illegal_value", f"details.{detail}必须是列表")
            for at, item in enumerate(items):
                given = {"owner": row["owner"], "order_by": str(at + 1), **item}
                made.append((detail, self._new(detail, given, actor, flags, {info.master_field: row["_id"]})))
        ids: dict[str, list[str]] = {detail: [] for detail in details}
        for kind, new in made:
            self._commit("create", kind, new, actor, flags)
            if kind in ids and new is not row:
                ids[kind].append(new["_id"])
        return row["_id"], ids

    def update(
        self, name: str, data: Mapping[str, Any], details: Mapping[str, Any] | None, actor: Actor, flags: WriteFlags
    ) -> None:
        """Change the fields that are given; `details` replaces the named ones whole, unless a switch says no."""
        self.may_write(name, actor)
        row = self.record(name, str(data.get("_id", "")), actor)
        if row["lock_status"] == "1" and not flags.skip_status and not actor.person:
            raise Refused("locked", "数据已锁定，不允许编辑")
        if row["life_status"] in {"under_review", "in_change"} and not flags.skip_status and not actor.person:
            raise Refused("life_status", "审批中的数据不允许编辑")
        changed = dict(row)
        for key, value in data.items():
            info = self.object(name).fields.get(key)
            if key == "owner" and not actor.person:
                if self.switches.refuse_owner_update:
                    raise Refused("owner", "负责人不允许编辑")
                continue
            if info is None or not (info.writable or (actor.person and info.system)) or info.type == "master_detail":
                continue
            changed[key] = stored(info, value, self.exists)
        self._keep_free_texts(data, changed)
        self._check_unique(name, changed)
        if flags.duplicate_search:
            self._check_duplicate(name, changed, flags)
        self._touch(changed, actor)
        self._commit("update", name, changed, actor, flags)
        if details and self.switches.details_on_update == "replace":
            self._replace_details(name, row["_id"], details, actor, flags)

    def invalidate(self, name: str, id: str, actor: Actor) -> None:
        """Move a record, and its details, to the recycle bin."""
        self.may_write(name, actor)
        row = self.record(name, id, actor)
        if row["life_status"] != "normal":
            raise Refused("life_status", "当前生命状态不允许作废")
        for detail, child in self._children(name, id):
            self._recycle(detail, child, actor)
        self._recycle(name, row, actor)

    def recover(self, name: str, id: str, actor: Actor) -> None:
        self.may_write(name, actor)
        row = self.recycled[name].pop(id, None)
        if row is None:
            raise Refused("missing", "数据不存在或未作废")
        row = {**row, "life_status": "normal"}
        self._touch(row, actor)
        self._commit("recover", name, row, actor, None)
        for detail in self.object(name).details:
            master_field = self.object(detail).master_field
            for child in [c for c in self.recycled[detail].values() if c.get(str(master_field)) == id]:
                self.recover(detail, child["_id"], actor)

    def delete(self, name: str, id: str, actor: Actor) -> None:
        """Delete for good what has been invalidated before."""
        self.may_write(name, actor)
        if id in self._ground.table(name):
            raise Refused("not_invalid", "只有作废的数据才可以删除")
        row = self.recycled[name].pop(id, None)
        if row is None:
            raise Refused("missing", "数据不存在")
        for detail in self.object(name).details:
            master_field = self.object(detail).master_field
            for child in [c for c in self.recycled[detail].values() if c.get(str(master_field)) == id]:
                del self.recycled[detail][child["_id"]]
        self._ground.put("delete", name, row, actor, gone=True)

    def change_owner(self, name: str, id: str, owner: Sequence[str], actor: Actor) -> None:
        self.may_write(name, actor)
        row = self.record(name, id, actor)
        if not row.get("owner"):
            raise Refused("no_right", "无此操作的数据权限")
        changed = {**row, "owner": stored(self.object(name).fields["owner"], list(owner), self.exists)}
        self._fill_departments(changed)
        self._touch(changed, actor)
        self._commit("changeOwner", name, changed, actor, None)

    def lock(self, name: str, id: str, locked: bool, cascade: bool, actor: Actor) -> None:
        self.may_write(name, actor)
        targets = [(name, self.record(name, id, actor))]
        if cascade:
            targets += self._children(name, id)
        for kind, row in targets:
            changed = {**row, "lock_status": "1" if locked else "0"}
            self._touch(changed, actor)
            self._commit("lock" if locked else "unlock", kind, changed, actor, None)

    def seed(self, name: str, items: Sequence[Mapping[str, Any]], actor: Actor) -> list[str]:
        """Put records in as they are, fast: numbers take their declared form, system fields are filled."""
        ids = []
        for item in items:
            fields = {key: value for key, value in item.items() if key != "details"}
            row = self._skeleton(name, actor)
            for key, value in fields.items():
                info = self.object(name).fields.get(key)
                places = info.decimal_places if info is not None and info.type in NUMBERS else None
                row[key] = value if places is None or value is None else decimal_text(value, places)
            self._fill_departments(row)
            self._ground.put("seed", name, row, actor)
            for detail, rows in (item.get("details") or {}).items():
                master = {str(self.object(detail).master_field): row["_id"], "owner": row["owner"]}
                self.seed(detail, [{"order_by": at + 1, **given, **master} for at, given in enumerate(rows)], actor)
            ids.append(row["_id"])
        return ids

    # --- reads --------------------------------------------------------------------------------------------------

    def object(self, name: str) -> ObjectInfo:
        try:
            return self.objects[name]
        except KeyError:
            raise Refused("no_object", f"对象{name}不存在或未启用") from None

    def record(self, name: str, id: str, actor: Actor) -> Row:
        """A live record that the actor may see, or Refused."""
        row = self._ground.table(self.object(name).name).get(id)
        if row is None:
            raise Refused("missing", "数据不存在或已作废")
        if not self.visible(actor)(row):
            raise Refused("no_right", "无此操作的数据权限")
        return row

    def exists(self, name: str, id: str) -> bool:
        if name == "DepartmentObj" and id == WHOLE_COMPANY:
            return True
        return name not in self.objects or id in self._ground.table(name)

    def visible(self, actor: Actor) -> Callable[[Row], bool]:
        """Which records the actor's queries show."""
        rights = self.rights.get(actor.user, Rights())
        return lambda row: row["_id"] not in rights.records

    def may_read(self, name: str, actor: Actor) -> None:
        self.object(name)
        if name in self.hidden_objects(actor):
            raise Refused("no_right", "没有查看列表权限")

    def hidden_objects(self, actor: Actor) -> set[str]:
        return self.rights.get(actor.user, Rights()).objects

    def may_write(self, name: str, actor: Actor) -> None:
        rights = self.rights.get(actor.user, Rights())
        self.object(name)
        if not actor.person and name in rights.objects | rights.read_only:
            raise Refused("no_right", "无此操作的数据权限")

    # --- the inside ---------------------------------------------------------------------------------------------

    def _new(
        self,
        name: str,
        data: Mapping[str, Any],
        actor: Actor,
        flags: WriteFlags,
        fixed: Mapping[str, str] | None = None,
    ) -> Row:
        row = self._skeleton(name, actor)
        if actor.person:
            data = {"owner": row["owner"], **data}  # the vendor's screens put in whoever fills them in
        for key, info in self.object(name).fields.items():
            if fixed is not None and key in fixed:
                row[key] = fixed[key]
            elif self._takes(info, actor, flags) and (key in data or info.required):
                row[key] = stored(info, data.get(key), self.exists)
            if key in self.switches.required_custom and row.get(key) is None:
                raise Refused("required", f"{info.label}不能为空")
        self._keep_free_texts(data, row)
        self._fill_departments(row)
        self._check_unique(name, row)
        return row

    def _takes(self, info: FieldInfo, actor: Actor, flags: WriteFlags) -> bool:
        if info.name == "create_time":
            return flags.own_time
        if info.name == "created_by":
            return flags.own_creator
        return info.writable or (actor.person and info.type == "auto_number")

    def _skeleton(self, name: str, actor: Actor) -> Row:
        now = self._ground.now()
        self._counter += 1
        row: Row = {
            "_id": f"{now // 1000:08x}{self._random}{self._counter:06x}",
            "tenant_id": self.tenant_id,
            "object_describe_api_name": name,
            "record_type": "default__c",
            "life_status": "normal",
            "lock_status": "0",
            "is_deleted": False,
            "owner": [actor.user],
            "created_by": [actor.user],
            "create_time": now,
            "last_modified_by": [actor.user],
            "last_modified_time": self._ground.stamp(),
            "version": "1",
        }
        for key, info in self.object(name).fields.items():
            if info.type == "auto_number":
                row[key] = self._next_number(name, now)
        return row

    def _next_number(self, name: str, now: int) -> str:
        self._running[name] = self._running.get(name, 0) + 1
        day = datetime.fromtimestamp((now + ZONE_MS) / 1000, UTC)
        prefix = "".join(letter for letter in name.removesuffix("Obj") if letter.isupper())
        return f"{prefix}{day:%Y%m%d}-{self._running[name]:06d}"

    def _touch(self, row: Row, actor: Actor) -> None:
        row["version"] = str(int(row["version"]) + 1)
        row["last_modified_time"] = self._ground.stamp()
        row["last_modified_by"] = [actor.user]

    def _commit(self, operation: str, name: str, row: Row, actor: Actor, flags: WriteFlags | None) -> None:
        if flags is not None and not actor.person:
            trigger = {"object": name, "dataId": row["_id"], "triggerType": operation.capitalize()}
            if flags.approval:
                self.approvals.append({**trigger, "state": "pass", "instanceId": f"AI{len(self.approvals) + 1:06d}"})
            if flags.workflow:
                self.workflow_runs.append(trigger)
        self._ground.put(operation, name, row, actor)

    def _recycle(self, name: str, row: Row, actor: Actor) -> None:
        gone = {**row, "life_status": "invalid"}
        self._touch(gone, actor)
        self.recycled[name][row["_id"]] = gone
        self._ground.put("invalid", name, gone, actor, gone=True)

    def _children(self, name: str, id: str) -> list[tuple[str, Row]]:
        found = []
        for detail in self.object(name).details:
            children = self._ground.table(detail).equal(str(self.object(detail).master_field), id)
            found += [(detail, child) for child in children]
        return found

    def _replace_details(self, name: str, id: str, details: Mapping[str, Any], actor: Actor, flags: WriteFlags) -> None:
        for detail, items in details.items():
            master_field = str(self.object(detail).master_field)
            kept = {item["_id"] for item in items if item.get("_id")}
            for kind, child in self._children(name, id):
                if kind == detail and child["_id"] not in kept:
                    self._recycle(detail, child, actor)
            for item in items:
                if item.get("_id"):
                    self.update(detail, item, None, actor, flags)
                else:
                    self._commit(
                        "create", detail, self._new(detail, item, actor, flags, {master_field: id}), actor, flags
                    )

    def _keep_free_texts(self, data: Mapping[str, Any], row: Row) -> None:
        for key, value in data.items():
            if key.endswith("__o") and row.get(key.removesuffix("__o")) == "other":
                row[key] = value

    def _fill_departments(self, row: Row) -> None:
        owner = (row.get("owner") or [None])[0]
        person = self._ground.table("PersonnelObj").get(owner) if owner else None
        department = ((person or {}).get("main_department") or [None])[0]
        row["owner_department_id"] = department
        row["owner_department"] = (self._ground.table("DepartmentObj").get(str(department)) or {}).get("name")
        if row.get("data_own_department") is None and department:
            row["data_own_department"] = [department]
        if row.get("data_own_organization") is None:
            row["data_own_organization"] = [WHOLE_COMPANY]

    def _check_unique(self, name: str, row: Row) -> None:
        for key, info in self.object(name).fields.items():
            holders = self._ground.table(name).equal(key, row[key]) if info.unique and row.get(key) is not None else []
            if any(holder["_id"] != row["_id"] for holder in holders):
                raise Refused("unique", f"{info.label}已存在，不能重复")

    def _check_duplicate(self, name: str, row: Row, flags: WriteFlags) -> None:
        keys = self.switches.duplicate_fields.get(name)
        if not keys or not (flags.duplicate_search or self.switches.duplicate_by_default):
            return
        for other in self._ground.table(name):
            if other["_id"] != row["_id"] and any(row.get(key) and other.get(key) == row.get(key) for key in keys):
                raise Refused("duplicate", "存在重复数据，不允许保存")
