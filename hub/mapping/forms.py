"""The closed list of forms: what the loader accepts, the JSON Schema offers and the reference explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hub.domain import normalise


@dataclass(frozen=True, slots=True)
class Form:
    """One key of one section.

    `kind` is what its value is:

    - `text`, `flag`, `integer`, `decimal`, `duration` (`2h`, `30m`, `1d`), `name` (of something in the mapping or
      schema), `path`, `cel`, `calc`, `template`, `constant`, `any`, `choice` (one of `choices`);
    - `leaving` (a choice, or the section), `first` (a path, a list of paths, or `true`), `write_back` (see there);
    - `expr`: where a value comes from: a path, or a map of the section `value`;
    - `const_or_expr`: the same, but a scalar is a constant;
    - `rule`: an `expr`, or a map of the section `each` or `fixed`;
    - `list:KIND`, `one_or_list:KIND`, `map:KIND` (any keys), `section:NAME`, `list:section:NAME`, `map:section:NAME`.
    """

    key: str
    kind: str
    meaning: str
    example: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()


TYPES = (
    "text", "integer", "decimal", "money", "boolean", "date", "datetime", "time", "phone", "email", "url", "enum",
    "list", "json", "label", "file",
)  # fmt: skip
AGGREGATES = ("sum", "min", "max", "count", "first", "last")
ROUNDINGS = ("half_up", "half_even", "half_down", "up", "down", "ceiling", "floor")
CASES = ("upper", "lower", "title")
NORMALISERS = tuple(normalise.NORMALISERS)
WRITE_BACK_KEYS = ("id", "number")

_ROW_POLICY = ("remove", "keep", "hold")
_FOREIGN_POLICY = ("keep", "remove", "hold")
_CHANGE_FORMS = (
    Form("on", "choice", "Write it on create only, or on change only.", "create", choices=("create", "change")),
    Form("owner", "text", "For a field that both directions map: the system whose value counts.", "crm"),
    Form(
        "list",
        "choice",
        "Replace the target's list (default), or append to it.",
        "append",
        choices=("replace", "append"),
    ),
)

FORMS: Mapping[str, tuple[Form, ...]] = {
    "mapping": (
        Form("mapping", "text", "The mapping's name.", "order-to-erp", required=True),
        Form(
            "extends",
            "text",
            "The mapping that this one changes, with its version.",
            "fxiaoke-kingdee/order-to-erp@1.3",
        ),
        Form("remove", "list:name", "Target fields of the base that this overlay leaves out.", "[FNote]"),
        Form("entity", "text", "The kind of thing that both sides are; what `ref:` names.", "order", required=True),
        Form(
            "source",
            "section:source",
            "Where records come from.",
            "{system: crm, object: SalesOrderObj}",
            required=True,
        ),
        Form("target", "section:target", "Where they go.", "{system: erp, object: SAL_SaleOrder}", required=True),
        Form("title", "expr", "What people call the record; stored and searched on the ledger.", "name"),
        Form(
            "related",
            "map:section:related",
            "What else a translation takes; gathered for the whole batch.",
            "{account: {object: AccountObj, id: account_id}}",
        ),
        Form("when", "cel", "Records that don't satisfy it don't travel.", 'record.life_status == "normal"'),
        Form(
            "when_changes",
            "map:section:change",
            "Only a change of these fields makes the record travel.",
            "{sales_stage: {to: won}}",
        ),
        Form(
            "require",
            "list:section:require",
            "Not satisfied: refused, in words that reach the person who can mend it.",
            "[{that: 'record.tax_no != null', say: 客户没有税号}]",
        ),
        Form(
            "match",
            "list:any",
            "Target fields that recognise a record which is there already; with a normaliser and a veto where wanted.",
            "[[F_CRM_NO], {FName: company_name, veto: FTaxRegisterCode}]",
        ),
        Form("defaults", "section:defaults", "What holds for all fields.", "{null: clear}"),
        Form(
            "let",
            "map:expr",
            "Values with a name, used as `let.NAME`.",
            "{org: {from: data_own_organization, lookup: org}}",
        ),
        Form(
            "fields",
            "map:rule",
            "Each target field says where its value comes from.",
            "{F_CRM_NO: name}",
            required=True,
        ),
        Form(
            "actions",
            "list:section:action",
            "Vendor operations that are no field.",
            "[{if: 'record.off', do: [Cancel]}]",
        ),
        Form(
            "on_leave",
            "leaving",
            "What happens to the target when the record no longer satisfies `when`.",
            "{do: Cancel}",
        ),
        Form("on_delete", "leaving", "What happens to the target when the record was deleted.", "{do: Cancel}"),
        Form(
            "on_adopt",
            "choice",
            "What adopting an existing record moves; nothing by default.",
            "fill_empty",
            choices=("fill_empty", "source", "target", "hold"),
        ),
        Form("once_per", "list:path", "What makes a new approval, contract or message.", "[_id, submit_round__c]"),
        Form(
            "split", "section:split", "Several target records of one, one a facet.", "{rows: lines, by: row.company__c}"
        ),
        Form(
            "ensure",
            "map:section:ensure",
            "What the target must say when it is read back; else the record is held.",
            '{FBillAllAmount: {equals: order_amount, within: "0.01"}}',
        ),
        Form(
            "write_back",
            "section:write_back",
            "Written into the source, so that people see it where they work.",
            "{ok: {erp_no__c: number}, failed: {sync_msg__c: message}}",
        ),
        Form("lookups", "map:section:lookup", "Tables of values.", '{org: {"1001": "100", else: error}}'),
        Form("tests", "list:section:test", "Cases that `hub mapping test` runs."),
    ),
    "source": (
        Form("system", "text", "A system of hub.yaml.", "crm", required=True),
        Form("object", "text", "The object read.", "SalesOrderObj", required=True),
    ),
    "target": (
        Form("system", "text", "A system of hub.yaml.", "erp", required=True),
        Form("object", "text", "The object written.", "SAL_SaleOrder", required=True),
        Form("options", "map:any", "The vendor's own options for a write.", "{IsVerifyBaseDataField: true}"),
        Form("after", "list:text", "Steps that follow a write.", "[submit, audit]"),
        Form(
            "when_locked",
            "choice",
            "What a change does that meets a locked record.",
            "hold",
            choices=("hold", "wait", "skip", "reopen"),
        ),
        Form(
            "create",
            "choice",
            "`never`: only records that the target has already.",
            "never",
            choices=("always", "never"),
        ),
        Form("id", "expr", "The record to write, where it is not the entity's own.", "{from: biz_key, ref: quote}"),
    ),
    "related": (
        Form("object", "text", "The object they are of.", "SalesOrderProductObj", required=True),
        Form("where", "map:path", "Its field equals the record's: a list of records.", "{order_id: _id}"),
        Form("id", "path", "The field that holds one record's id.", "account_id"),
        Form("of", "name", "Another relation, in whose rows `id` is read.", "lines"),
        Form("wakes", "flag", "A change to one of them brings its record.", "true"),
    ),
    "change": (
        Form("from", "one_or_list:constant", "The value before.", "open"),
        Form("to", "one_or_list:constant", "The value after.", "won"),
    ),
    "require": (
        Form("that", "cel", "What has to hold.", "record.account.tax_no != null", required=True),
        Form("say", "text", "What the person reads who can mend it.", "客户没有税号", required=True),
    ),
    "defaults": (
        Form(
            "null", "choice", "An emptied source empties the target, or leaves it.", "clear", choices=("clear", "keep")
        ),
    ),
    "value": (
        Form(
            "from",
            "one_or_list:path",
            "The path it is read from; several for a lookup with several keys.",
            "order_time",
        ),
        Form(
            "first",
            "first",
            "The first of these that is not empty; `true`: the first of the list that `from` gives.",
            "[ship_to_tel, account.tel]",
        ),
        Form("join", "list:const_or_path", "These as one text; empty ones are left out.", "[province, city, address]"),
        Form("with", "text", "What stands between joined values; a blank by default.", '""'),
        Form("text", "template", "A template.", "{account.name} {order_amount:,.2f}"),
        Form("const", "any", "This value.", "XSDD01_SYS"),
        Form("param", "name", "A constant that differs by environment.", "order_type"),
        Form("cel", "cel", "An expression in CEL.", 'record.level == "A" ? 1 : 2'),
        Form("call", "text", "A plug-in's function; `from` gives its arguments.", "acme.price_group"),
        *(
            Form(name, "path", f"The {name} over a column of rows.", "lines.subtotal")
            for name in AGGREGATES
            if name != "first"
        ),
        Form("apportion", "path", "A total shared over rows; gives one value a row.", "order_amount"),
        Form("over", "path", "The column in whose proportion it is shared.", "lines.subtotal"),
        Form("number", "text", "A running number, where the target has none.", "C{yyMM}{0000}"),
        Form("if", "cel", "Not satisfied: the field is left alone.", 'record.mc_currency != "CNY"'),
        Form("trim", "flag", "Take blanks off both ends.", "true"),
        Form("case", "choice", "Change the letters' case.", "upper", choices=CASES),
        Form("split", "text", "Make a list of a text, at this separator.", ","),
        Form("replace", "map:text", "Replace these pieces of the text.", '{"-": ""}'),
        Form("null", "choice", "What an empty source does to this field.", "keep", choices=("clear", "keep")),
        Form("default", "const_or_expr", "Instead of an empty value.", "0"),
        Form(
            "as", "choice", "The type it is read as; the source's schema gives the default.", "decimal", choices=TYPES
        ),
        Form("tz", "text", "The time zone of the day or the local time.", "Asia/Shanghai"),
        Form("region", "text", "The country of a phone number without one.", "CN"),
        Form("calc", "calc", "Exact decimal arithmetic; `value` is what came before.", "row.subtotal / row.quantity"),
        Form("multiply", "const_or_expr", "Times this.", "100"),
        Form("lookup", "name", "Look it up in this table.", "currency"),
        Form("ref", "name", "The entity of this kind that it names.", "customer"),
        Form("take", "text", "The key or column that is taken; the target field's schema gives the default.", "number"),
        Form("by", "text", "The key by which the source names the entity; its id by default.", "number"),
        Form("facet", "expr", "Which of the entity's records in the target.", "let.org"),
        Form("optional", "flag", "Missing: left out, and owed.", "true"),
        Form("wait", "duration", "How long a missing one is waited for before `else`.", "2h"),
        Form("else", "const_or_expr", "What stands in for what is missing.", "{param: default_dept}"),
        Form("scale", "integer", "Decimal places; rounds.", "2"),
        Form("round", "choice", "How it is rounded; `half_up` by default.", "half_up", choices=ROUNDINGS),
        Form("on_error", "const_or_expr", "What stands in for a value that does not fit.", "null"),
        *_CHANGE_FORMS,
    ),
    "each": (
        Form("each", "path", "The source rows.", "lines", required=True),
        Form("key", "path", "What tells a row from the others.", "_id"),
        Form("entity", "text", "The kind of thing that a row is.", "order_line"),
        Form("when", "cel", "Only these rows.", "row.quantity > 0"),
        Form("missing", "choice", "What becomes of a row gone from the source.", "remove", choices=_ROW_POLICY),
        Form("foreign", "choice", "What becomes of rows that the other side added.", "keep", choices=_FOREIGN_POLICY),
        Form("match", "list:name", "Row fields by which rows are paired on adoption.", "[FMaterialId.FNumber]"),
        Form("group", "path", "One target row for each distinct value; aggregates see `rows`.", "order_id"),
        Form("fields", "map:rule", "The fields of a row.", "{FQty: quantity}"),
        Form("value", "expr", "For rows of scalars: the value.", "{from: row, ref: employee}"),
        *_CHANGE_FORMS,
    ),
    "fixed": (
        Form("rows", "list:map:rule", "Rows written out.", "[{FType: {const: A}}]", required=True),
        Form("key", "name", "The row field that tells them apart.", "FType"),
        Form("missing", "choice", "What becomes of a row gone from the mapping.", "remove", choices=_ROW_POLICY),
        Form("foreign", "choice", "What becomes of rows that the other side added.", "keep", choices=_FOREIGN_POLICY),
    ),
    "action": (
        Form("if", "cel", "When it is asked for.", 'record.order_status == "cancelled"', required=True),
        Form(
            "do",
            "one_or_list:text",
            "The first of these that the target's state allows.",
            "[Cancel, CloseBill]",
            required=True,
        ),
    ),
    "leaving": (
        Form("set", "map:rule", "Write these fields.", "{FStatus: {const: B}}"),
        Form("do", "one_or_list:text", "Do the first of these that the target's state allows.", "[Cancel, CloseBill]"),
    ),
    "split": (
        Form("rows", "path", "The rows that are split.", "lines", required=True),
        Form("by", "path", "What they are split by; becomes the facet.", "row.company__c", required=True),
    ),
    "ensure": (
        Form("equals", "expr", "What it must be.", "order_amount", required=True),
        Form("within", "decimal", "How far it may be off.", '"0.01"'),
    ),
    "write_back": (
        Form(
            "ok",
            "map:write_back",
            "After success: `id`, `number`, `{key: NAME}`, or a constant.",
            "{erp_no__c: number}",
        ),
        Form("failed", "map:write_back", "After a failure: `message`, or a constant.", "{sync_msg__c: message}"),
    ),
    "lookup": (
        Form("file", "text", "A CSV file beside the mapping; the first column is the key.", "currency.csv"),
        Form("table", "name", "A table kept in the hub.", "tax"),
        Form("keys", "list:text", "The columns that are its key.", "[country, tax_class]"),
        Form("else", "constant", "What a value gets that the table lacks: `error`, `keep` or a constant.", "error"),
    ),
    "test": (
        Form("name", "text", "What it shows.", required=True),
        Form("given", "section:given", "What the mapping gets.", required=True),
        Form("expect", "any", "Among the results."),
        Form("expect_only", "any", "The whole result."),
        Form("expect_error", "text", "Refused or failed, in words that hold these."),
        Form("expect_filtered", "any", "It does not travel: `true`, or a part of the rule."),
        Form("expect_actions", "one_or_list:text", "The operations that its state asks for."),
        Form("expect_waiting", "one_or_list:text", "It waits for entities or tables of these names."),
    ),
    "given": (
        Form("record", "map:any", "The record's fields.", required=True),
        Form("related", "map:any", "Related records by name."),
        Form("ids", "map:map:any", "The target's ids: by kind, then by the source's value."),
        Form("params", "map:any", "The parameters."),
        Form("tables", "map:any", "Rows of hub tables: by table, then by key (several keys joined by `|`)."),
        Form("previous", "map:any", "The record as it was delivered last."),
        Form("exists", "flag", "The target has it already."),
        Form("waited", "duration", "How long it has waited."),
        Form("now", "text", "The time, in ISO 8601."),
    ),
}

ORIGINS = ("from", "first", "join", "text", "const", "param", "cel", "call", *AGGREGATES, "apportion", "number")


def section(name: str) -> Mapping[str, Form]:
    """The forms of a section by key."""
    return {form.key: form for form in FORMS[name]}
