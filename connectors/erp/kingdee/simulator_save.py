"""The simulator's Save: a document is typed in, key by key, with the vendor's events, checks and amounts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from connectors.erp.kingdee.simulator_forms import HEAD, Form, Key
from connectors.erp.kingdee.simulator_store import Refused, Store
from hub.connector.table import Row
from hub.domain.schema import FieldType

_ORGS = ("FUseOrgId", "FCreateOrgId", "FSaleOrgId", "FPAYORGID", "FBizOrgId")  # whose eyes references are seen with
_OWN_STATE = frozenset({"FDocumentStatus", "FForbidStatus", "FCloseStatus", "FCancelStatus", "FMrpCloseStatus"})


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """The keys of a Save call beside its Model, with the vendor's defaults."""

    only: frozenset[str] = frozenset()  # NeedUpDateFields
    delete_rows: bool = True  # IsDeleteEntry
    verify_references: bool = False  # IsVerifyBaseDataField
    draft: bool = False

    @classmethod
    def of(cls, data: dict[str, Any], *, draft: bool = False) -> SaveOptions:
        return cls(
            only=frozenset(map(str, data.get("NeedUpDateFields") or ())),
            delete_rows=as_bool(data.get("IsDeleteEntry"), True),
            verify_references=as_bool(data.get("IsVerifyBaseDataField"), False),
            draft=draft,
        )


def as_bool(value: Any, default: bool) -> bool:
    """Booleans come as true, "true" or "True"."""
    return default if value is None or value == "" else str(value).strip().lower() in ("true", "1")


@dataclass(slots=True)
class Typing:
    """A document while it is typed in."""

    store: Store
    form: Form
    options: SaveOptions
    row: Row
    org: str | None
    created: bool
    errors: list[Refused] = field(default_factory=list)

    def model(self, model: dict[str, Any]) -> None:
        """Play the JSON in the order of its keys."""
        for name, value in model.items():
            if not self._asked_for(name):
                continue
            if name in self.form.layout.subheads and isinstance(value, dict):
                for inner, each in value.items():
                    self._head(name, inner, each)
            elif name in self.form.table_fields and isinstance(value, list):
                self._table(name, value)
            else:
                self._head(HEAD, name, value)

    def _asked_for(self, name: str) -> bool:
        """`NeedUpDateFields` lets nothing through that it doesn't name; rows need their table's key there."""
        only = self.options.only
        return not only or self.created or name in only or name in self.form.layout.subheads

    def _head(self, place: str, name: str, value: Any) -> None:
        key = self.form.saved_in.get((place, name))
        inner_ok = not self.options.only or self.created or name in self.options.only or place in self.options.only
        # Unknown keys, and keys in another case than the metadata's, are passed over without a word.
        if key is None or not inner_ok or self._untouchable(key):
            return
        self._type(key, self.row, value)

    def _untouchable(self, key: Key) -> bool:
        return (
            key.key in _OWN_STATE
            or key.field.computed
            or key.field.readonly
            or (key.field.create_only and not self.created)
        )

    def _table(self, table: str, given: list[Any]) -> None:
        rows: list[Row] = [dict(each) for each in self.row.get(table) or []]
        by_id = {row["FEntryID"]: row for row in rows}
        kept: set[int] = set()
        for model in given:
            id = int(model.get("FEntryID") or 0)
            if id and id not in by_id:
                self.errors.append(Refused(f"单据体“{table}”不存在内码为{id}的分录", code=11, field=table))
                continue
            row = by_id[id] if id else {"FEntryID": self.store.new_id()}
            if not id:
                rows.append(row)
            kept.add(row["FEntryID"])
            for name, value in model.items():
                key = self.form.saved_in.get((table, name))
                only = self.options.only
                if key is None or name == "FEntryID" or self._untouchable(key):
                    continue
                if only and not self.created and id and name not in only and table not in only:
                    continue
                self._type(key, row, value)
        if self.options.delete_rows:
            rows = [row for row in rows if row["FEntryID"] in kept]
        for seq, row in enumerate(rows, 1):
            row["FSeq"] = seq
        self.row[table] = rows

    def _type(self, key: Key, row: Row, value: Any) -> None:
        before = row.get(key.stored)
        try:
            if key.is_reference:
                self._refer(key, row, value)
            else:
                row[key.stored] = typed(key, value)
        except Refused as error:
            self.errors.append(error)
            return
        if row.get(key.stored) != before:
            _on_change(self, key, row)

    def _refer(self, key: Key, row: Row, value: Any) -> None:
        number, id = _reference(value)
        target = key.field.reference or ""
        if number is None and id is None:
            row[key.inner], row[key.stored] = None, None
            return
        if target not in self.store.forms:
            row[key.stored] = number
            return
        form = self.store.forms[target]
        org = None if target == "ORG_Organizations" else self.org
        found = self.store.resolve(target, number, org) if number is not None else self.store.table(target).get(str(id))
        if found is None:
            if self.options.verify_references:
                label = key.field.label or key.key
                raise Refused(
                    f"字段“{label}”的基础资料“{number or id}”不存在、未审核或未分配到当前组织", code=11, field=key.key
                )
            row[key.inner], row[key.stored] = None, None
            return
        row[key.inner], row[key.stored] = found[form.pk], found[form.number]
        if key.key in _ORGS and self.org is None:
            self.org = str(found[form.number])


def save(store: Store, form: Form, model: dict[str, Any], options: SaveOptions, org: str | None, actor: str) -> Row:
    """Create or update one document. Raises Refused, or Several with all that is wrong."""
    before = _existing(store, form, model)
    if before is None:
        row = blank(store, form)
    else:
        _editable(store, form, before)
        row = deepcopy(before)
    typing = Typing(store, form, options, row, _org(form, model, row) or org, before is None)
    typing.model(model)
    _defaults(typing)
    derive(form, row)
    if not options.draft:
        typing.errors += _missing(form, row)
    if typing.errors:
        raise Several(typing.errors)
    _number(store, form, row)
    row["FModifyDate"] = store.moment()
    if before is None:
        row["FCreateDate"] = row["FModifyDate"]
    row["FDocumentStatus"] = "Z" if options.draft else "D" if before and before["FDocumentStatus"] == "D" else "A"
    return store.put("create" if before is None else "update", form, row, actor=actor)


class Several(Exception):
    def __init__(self, errors: list[Refused]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


def typed(key: Key, value: Any) -> Any:
    """A value as the column keeps it: trimmed, rounded, within its length."""
    label = key.field.label or key.key
    if value is None or (isinstance(value, str) and not value.strip()):
        return None if key.field.type is not FieldType.BOOLEAN else False
    match key.field.type:
        case FieldType.DECIMAL | FieldType.MONEY:
            return money(_decimal(value, label, key.key), key.field.scale or 10)
        case FieldType.INTEGER:
            return int(_decimal(value, label, key.key))
        case FieldType.BOOLEAN:
            return as_bool(value, False)
        case FieldType.DATE | FieldType.DATETIME:
            try:
                moment = datetime.fromisoformat(str(value).strip()).replace(tzinfo=None)
            except ValueError:
                raise Refused(f"字段“{label}”的值“{value}”不是有效的日期", code=11, field=key.key) from None
            if key.field.type is FieldType.DATE:
                moment = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            return moment.isoformat(timespec="milliseconds")
        case _:
            text = str(value).strip()
            if key.field.length is not None and len(text) > key.field.length:
                raise Refused(f"字段“{label}”的值超出了最大长度{key.field.length}", code=11, field=key.key)
            return text


def money(value: Decimal, scale: int = 2) -> str:
    return str(value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP))


def derive(form: Form, row: Row) -> None:
    """Amounts follow from quantity, price and rate; head totals from the rows."""
    if form.id == "SAL_SaleOrder":
        totals = {"FAmount": Decimal(0), "FEntryTaxAmount": Decimal(0), "FAllAmount": Decimal(0)}
        for each in row.get("FSaleOrderEntry") or []:
            rate = 1 + Decimal(each.get("FEntryTaxRate") or 0) / 100
            whole = Decimal(money(Decimal(each.get("FQty") or 0) * Decimal(each.get("FTaxPrice") or 0)))
            net = Decimal(money(whole / rate))
            for name, amount in zip(totals, (net, whole - net, whole), strict=True):
                each[name] = money(amount)
                totals[name] += amount
        heads = ("FBillAmount", "FBillTaxAmount", "FBillAllAmount")
        for name, amount in zip(heads, totals.values(), strict=True):
            row[f"FSaleOrderFinance.{name}"] = money(amount)
    elif form.id == "AR_RECEIVEBILL":
        entries = row.get("FRECEIVEBILLENTRY") or []
        row["FRECAMOUNTFOR"] = money(
            sum((Decimal(each.get("FRECTOTALAMOUNTFOR") or 0) for each in entries), Decimal(0))
        )


def _existing(store: Store, form: Form, model: dict[str, Any]) -> Row | None:
    pk = str(model.get(form.pk) or 0)
    if pk == "0":
        return None
    found = store.table(form.id).get(pk)
    if found is None:
        raise Refused(f"内码为{pk}的数据不存在，可能已被删除", code=10)
    return found


def _editable(store: Store, form: Form, row: Row) -> None:
    if (form.id, str(row[form.pk])) in store.edit_locks:
        raise Refused(f"网络控制冲突：{form.label}“{row[form.number]}”正在被其他用户编辑", code=13)
    if row["FDocumentStatus"] == "C":
        raise Refused(f"{form.label}“{row[form.number]}”已审核，不允许修改", code=12)
    if row["FDocumentStatus"] == "B":
        raise Refused(f"{form.label}“{row[form.number]}”处于审核中状态，不允许修改", code=12)


def blank(store: Store, form: Form) -> Row:
    """A new document: every field there, empty; flags down."""
    row: Row = {form.pk: store.new_id()}
    for key in form.members(HEAD):
        row.setdefault(key.stored, "A" if key.key in _OWN_STATE else None)
        if key.is_reference:
            row.setdefault(key.inner, None)
    row.update({table: [] for table in form.tables})
    return row


def _org(form: Form, model: dict[str, Any], row: Row) -> str | None:
    for name in _ORGS:
        if name in model and form.find(name):
            number, _ = _reference(model[name])
            if number:
                return number
    for name in _ORGS:
        if row.get(f"{name}.FNumber"):
            return str(row[f"{name}.FNumber"])
    return None


def _reference(value: Any) -> tuple[str | None, int | None]:
    """`{"FNumber": "X"}`, `{"FNUMBER": "X"}` or `{"Id": 7}`; an empty one clears the field."""
    if not isinstance(value, dict):
        return None, None
    lowered = {str(name).lower(): each for name, each in value.items()}
    number = str(lowered.get("fnumber") or lowered.get("fuserid") or "").strip()
    id = lowered.get("id")
    return number or None, int(id) if id else None


def _on_change(typing: Typing, key: Key, row: Row) -> None:
    """What a value change sets off in the vendor's form: later keys may be overwritten, which is why order matters."""
    if typing.form.id != "SAL_SaleOrder":
        return
    if key.key == "FCustId" and row.get("FCustId"):
        customer = typing.store.table("BD_Customer").get(str(row["FCustId"])) or {}
        _copy(row, "FSaleOrderFinance.FSettleCurrId", customer, "FTRADINGCURRID")
    elif key.key == "FMaterialId" and row.get("FMaterialId"):
        material = typing.store.table("BD_MATERIAL").get(str(row["FMaterialId"])) or {}
        _copy(row, "FUnitID", material, "FBaseUnitId")
        row["FEntryTaxRate"] = "13.00"
        row["FTaxPrice"] = money(Decimal(material.get("F_HUB_PRICE") or 0), 6)
        _price_from_tax_price(row)
    elif key.key == "FPrice":
        rate = 1 + Decimal(row.get("FEntryTaxRate") or 0) / 100
        row["FTaxPrice"] = money(Decimal(row.get("FPrice") or 0) * rate, 6)
    elif key.key in ("FTaxPrice", "FEntryTaxRate"):
        _price_from_tax_price(row)


def _price_from_tax_price(row: Row) -> None:
    rate = 1 + Decimal(row.get("FEntryTaxRate") or 0) / 100
    row["FPrice"] = money(Decimal(row.get("FTaxPrice") or 0) / rate, 6)


def _copy(row: Row, to: str, source: Row, of: str) -> None:
    row[to], row[f"{to}.FNumber"] = source.get(of), source.get(f"{of}.FNumber")


def _defaults(typing: Typing) -> None:
    """What the form fills in by itself when nothing was typed."""
    row, form, store = typing.row, typing.form, typing.store

    def fill(name: str, target: str, number: str | None) -> None:
        if number and form.find(name.rpartition(".")[2]) and row.get(name) is None:
            found = store.resolve(target, number, typing.org)
            if found:
                row[name], row[f"{name}.FNumber"] = found[store.forms[target].pk], found[store.forms[target].number]

    if form.org_controlled:
        fill("FCreateOrgId", "ORG_Organizations", typing.org)
        fill("FUseOrgId", "ORG_Organizations", row.get("FCreateOrgId.FNumber"))
    if form.id == "SAL_SaleOrder":
        fill("FBillTypeID", "BOS_BillType", "XSDD01_SYS")
        fill("FSaleOrderFinance.FSettleCurrId", "BD_Currency", "PRE001")
        _fill_plain(row, "FSaleOrderFinance.FExchangeRate", "1.000000")
        _fill_plain(row, "FSaleOrderFinance.FIsIncludedTax", True)
        for each in row["FSaleOrderEntry"]:
            _fill_plain(each, "FRowType", "Standard")
            _fill_plain(each, "FMrpCloseStatus", "A")
    elif form.id == "AR_RECEIVEBILL":
        fill("FBillTypeID", "BOS_BillType", "SKDLX01_SYS")
        fill("FSETTLECUR", "BD_Currency", row.get("FCURRENCYID.FNumber"))
        fill("FSETTLEMAINBOOKID", "BD_Currency", "PRE001")
        if row.get("FPAYUNIT") is None:
            _copy(row, "FPAYUNIT", row, "FCONTACTUNIT")
        _fill_plain(row, "FPAYUNITTYPE", row.get("FCONTACTUNITTYPE"))
        _fill_plain(row, "FBUSINESSTYPE", "1")
        _fill_plain(row, "FEXCHANGERATE", "1.000000")
        _fill_plain(row, "FWRITTENOFFSTATUS", "A")


def _fill_plain(row: Row, name: str, value: Any) -> None:
    if row.get(name) is None:
        row[name] = value


def _missing(form: Form, row: Row) -> list[Refused]:
    errors = [
        Refused(f"字段“{key.field.label or key.key}”是必填项，不能为空", code=11, field=key.key)
        for key in form.members(HEAD)
        if key.field.required and row.get(key.stored) in (None, "")
    ]
    for table, described in form.table_fields.items():
        rows = row.get(table) or []
        if described.required and not rows:
            errors.append(Refused(f"单据体“{described.label}”不能为空，至少录入一行", code=11, field=table))
        for key in form.members(table):
            lacking = [
                str(at) for at, each in enumerate(rows, 1) if key.field.required and each.get(key.stored) in (None, "")
            ]
            if lacking:
                label = key.field.label or key.key
                errors.append(Refused(f"第{'、'.join(lacking)}行分录的字段“{label}”是必填项", code=11, field=key.key))
    return errors


def _number(store: Store, form: Form, row: Row) -> None:
    """Give a number where none was sent; refuse one that is taken (among the same using organisation)."""
    if not row.get(form.number):
        row[form.number] = store.new_number(form)
        return
    for other in store.by_text(form.id, form.number, (row[form.number],)) or ():
        same_org = not form.org_controlled or other.get("FUseOrgId.FNumber") == row.get("FUseOrgId.FNumber")
        if other[form.pk] != row[form.pk] and same_org:
            raise Refused(f"编码唯一：{form.label}编码“{row[form.number]}”已存在", code=11, field=form.number)


def _decimal(value: Any, label: str, key: str) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise Refused(f"字段“{label}”的值“{value}”不是数字", code=11, field=key) from None
