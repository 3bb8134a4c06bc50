"""A form's schema: what the catalogue says, corrected and widened by the live metadata of QueryBusinessInfo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connectors.erp.kingdee.catalogue import Layout
from hub.domain.schema import Capabilities, Facts, Field, FieldType, ObjectSchema, Wire

HEAD = "FBillHead"

# FieldType is the type id of SQL Server's columns (unconfirmed: only 231 was seen on live tenants).
_TYPES = {
    48: FieldType.INTEGER,
    52: FieldType.INTEGER,
    56: FieldType.INTEGER,
    127: FieldType.INTEGER,
    58: FieldType.DATETIME,
    61: FieldType.DATETIME,
    62: FieldType.DECIMAL,
    106: FieldType.DECIMAL,
    108: FieldType.DECIMAL,
    104: FieldType.BOOLEAN,
}
_STEPS = {"Submit": "submit", "Audit": "audit"}
_OWN_CALLS = frozenset({"Delete", "Save", "View"})  # operations that have a way of their own in the contract


def live_schema(info: Mapping[str, Any], known: ObjectSchema | None, layout: Layout, tz: str) -> ObjectSchema:
    """The schema of `NeedReturnData`. Fields of the catalogue that this tenant lacks fall away, others are added."""
    name = str(info.get("Id") or (known.name if known else ""))
    pk = known.id_field if known else str(info.get("PkFieldName") or "FID")
    known_fields = known.fields if known else {}
    fields: dict[str, Field] = {pk: known_fields.get(pk) or Field(pk, FieldType.INTEGER, "内码", readonly=True)}
    for entry in info.get("Entrys") or ():
        key, parent = str(entry.get("Key") or ""), str(entry.get("ParentKey") or "")
        if key == HEAD or key in layout.subheads:
            fields |= _heads(entry, key, known_fields, layout, tz)
        elif parent in ("", HEAD):  # a table inside a table has no place in a record
            fields[key] = _table(entry, key, known_fields.get(key), tz)
    ordered = {each: fields[each] for each in known_fields if each in fields}
    fields = {**ordered, **{each: field for each, field in fields.items() if each not in ordered}}
    if known is not None:
        return _corrected(known, fields)
    return _unknown(name, info, pk, fields)


def missing_stamps(schema: ObjectSchema, layout: Layout, stamp: str, row_stamp: str) -> list[str]:
    """Custom fields by which the hub would recognise its own writes, and that this tenant lacks."""
    lacking = [] if stamp in schema.fields else [f"{schema.name}.{stamp}"]
    for table in layout.row_stamp:
        field = schema.fields.get(table)
        if field is not None and row_stamp not in (field.rows or {}):
            lacking.append(f"{schema.name}.{table}.{row_stamp}")
    return lacking


def _heads(
    entry: Mapping[str, Any], entity: str, known: Mapping[str, Field], layout: Layout, tz: str
) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for each in entry.get("Fields") or ():
        plain = _flat(each)
        name = plain if entity == HEAD or layout.in_subhead.get(plain) == entity else f"{entity}.{plain}"
        found[name] = _field(name, each, known.get(name), tz)
    return found


def _table(entry: Mapping[str, Any], key: str, known: Field | None, tz: str) -> Field:
    known_rows = (known.rows if known else None) or {}
    rows = {
        "FEntryID": known_rows.get("FEntryID") or Field("FEntryID", FieldType.INTEGER, "分录内码", readonly=True),
        "FSeq": known_rows.get("FSeq") or Field("FSeq", FieldType.INTEGER, "行号", readonly=True, computed=True),
    }
    for each in entry.get("Fields") or ():
        name = _flat(each)
        rows[name] = _field(name, each, known_rows.get(name), tz)
    if known is not None:
        return replace(known, rows=rows)
    return Field(key, FieldType.ROWS, _label(entry.get("Name")) or key, rows=rows, row_key="FEntryID")


def _flat(each: Mapping[str, Any]) -> str:
    key = str(each.get("Key") or "")
    return f"{key}.FNumber" if _target(each) else key


def _target(each: Mapping[str, Any]) -> str:
    return str(each.get("LookUpObjectFormId") or "").strip()


def _field(name: str, each: Mapping[str, Any], known: Field | None, tz: str) -> Field:
    label = _label(each.get("Name"))
    if known is not None:
        return replace(known, label=label or known.label, tz=tz)
    target = _target(each)
    if target:
        return Field(name, FieldType.REFERENCE, label, reference=target, takes="number", required=_must(each))
    number = each.get("FieldType")
    type_ = _TYPES.get(number, FieldType.TEXT) if isinstance(number, int) else FieldType.TEXT
    wire = Wire.LOCAL if type_ is FieldType.DATETIME else Wire.PLAIN
    return Field(name, type_, label, wire=wire, tz=tz, required=_must(each))


def _must(each: Mapping[str, Any]) -> bool:
    return str(each.get("MustInput") or "0").strip().lower() not in ("0", "false", "")


def _label(names: Any) -> str:
    """The first of the names by language that has text; Chinese (2052) before others."""
    if not isinstance(names, list):
        return str(names or "")
    texts = {each.get("Key"): str(each.get("Value") or "") for each in names if isinstance(each, dict)}
    return texts.get(2052) or next((text for text in texts.values() if text), "")


def _corrected(known: ObjectSchema, fields: dict[str, Field]) -> ObjectSchema:
    """The catalogue's object, its roles and facts cut down to the fields that there are."""

    def kept(name: str | None) -> str | None:
        return name if name in fields else None

    can = replace(known.capabilities, stamp_field=kept(known.capabilities.stamp_field))
    facts = replace(
        known.facts,
        state_field=kept(known.facts.state_field),
        together=tuple(group for group in (_there(group, fields) for group in known.facts.together) if len(group) > 1),
    )
    return replace(
        known,
        fields=fields,
        title_field=kept(known.title_field),
        number_field=kept(known.number_field),
        modified_field=kept(known.modified_field),
        capabilities=can,
        facts=facts,
        origin="live",
    )


def _there(group: frozenset[str], fields: Mapping[str, Field]) -> frozenset[str]:
    return frozenset(
        name
        for name in group
        if name in fields
        or (name.partition(".")[0] in fields and name.partition(".")[2] in (fields[name.partition(".")[0]].rows or {}))
    )


def _unknown(name: str, info: Mapping[str, Any], pk: str, fields: dict[str, Field]) -> ObjectSchema:
    """A form that the catalogue doesn't know: its powers follow from its operations."""
    operations = {str(each.get("OperationNumber") or "") for each in info.get("Operations") or ()}
    number = next((each for each in ("FBillNo", "FNumber") if each in fields), None)
    submits = "FDocumentStatus" in fields and _STEPS.keys() <= operations
    return ObjectSchema(
        name=name,
        label=_label(info.get("Name")) or name,
        id_field=pk,
        fields=fields,
        title_field="FName" if "FName" in fields else number,
        number_field=number,
        modified_field="FModifyDate" if "FModifyDate" in fields else None,
        capabilities=Capabilities(
            read_modified="FModifyDate" in fields,
            create=True,
            update=True,
            delete=submits,
            operations=frozenset(operations - _OWN_CALLS - {""}),
            steps=("submit", "audit") if submits else (),
            stamp_field="F_HUB_KEY" if "F_HUB_KEY" in fields else None,
            write_batch=50,
            get_batch=200,
        ),
        facts=Facts(
            settles_within=90.0,
            state_field="FDocumentStatus" if "FDocumentStatus" in fields else None,
            locked_states=frozenset("BC") if submits else frozenset(),
        ),
        origin="live",
    )
