"""What values become on their way from the source's shape to the target's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hub.domain.errors import InvalidInput, NotFound
from hub.domain.schema import Field, FieldType, ObjectSchema, Wire
from hub.mapping.compile import CompiledMapping, compile_mapping
from hub.mapping.load import load
from hub.mapping.result import (
    Context,
    Failed,
    Filtered,
    Item,
    RefAnswer,
    RefKey,
    RefState,
    Refused,
    Rendered,
    TableKey,
    Waiting,
)

HEAD = "mapping: m\nentity: e\nsource: {system: a, object: A}\ntarget: {system: b, object: B}\n"

SOURCE = [
    Field("_id"),
    Field("name"),
    Field("note"),
    Field("amount", FieldType.MONEY),
    Field("quantity", FieldType.DECIMAL),
    Field("count", FieldType.INTEGER),
    Field("at", FieldType.DATETIME, wire=Wire.EPOCH_MS, tz="Asia/Shanghai"),
    Field("day", FieldType.DATE, wire=Wire.EPOCH_MS, tz="Asia/Shanghai"),
    Field("flag", FieldType.BOOLEAN),
    Field("level", FieldType.ENUM, options={"1": "Gold", "2": "Silver"}),
    Field("tags", FieldType.TEXT, many=True),
    Field("customer", FieldType.REFERENCE, reference="Account"),
    Field("owners", FieldType.REFERENCE, reference="User", many=True),
    Field("a.b"),
    Field("entries", FieldType.ROWS, rows={"q": Field("q", FieldType.DECIMAL), "id": Field("id")}, row_key="id"),
]
TARGET = [
    Field("T"),
    Field("Short", length=3),
    Field("N", FieldType.DECIMAL),
    Field("N2", FieldType.MONEY, scale=2),
    Field("I", FieldType.INTEGER),
    Field("D", FieldType.DATE),
    Field("At", FieldType.DATETIME, wire=Wire.LOCAL, tz="Asia/Shanghai"),
    Field("B", FieldType.BOOLEAN, wire=Wire.AB),
    Field("E", FieldType.ENUM, options={"x": "X"}),
    Field("L", FieldType.TEXT, many=True),
    Field("C", FieldType.REFERENCE, reference="BD", takes="number"),
]
RECORD: dict[str, Any] = {
    "_id": "1", "name": " Acme ", "note": "", "amount": "1234.50", "quantity": "3", "count": 4, "at": 1767636000000,
    "day": 1767628800000, "flag": True, "level": "1", "tags": ["a", "", "b"], "customer": "c1", "owners": ["u1", "u2"],
    "a.b": "dotted", "entries": [{"id": "r1", "q": "1.5"}, {"id": "r2", "q": "2.5"}],
}  # fmt: skip


def schema(name: str, fields: list[Field], id_field: str = "_id") -> ObjectSchema:
    return ObjectSchema(name, name, id_field, {field.name: field for field in fields})


def build(text: str, plugins: dict[str, Callable[..., Any]] | None = None, **more: Any) -> CompiledMapping:
    return compile_mapping(
        load(HEAD + text, "m.yaml"),
        source=schema("A", SOURCE),
        target=schema("B", TARGET, "id"),
        plugins=plugins or {},
        **more,
    )


def run(text: str, record: dict[str, Any] | None = None, *, plugins: Any = None, **context: Any) -> Any:
    """The one result of one record; `item_...` go to the item, the rest to the context."""
    item = {name.removeprefix("item_"): context.pop(name) for name in list(context) if name.startswith("item_")}
    made = build(text, plugins).run([Item("1", RECORD if record is None else record, **item)], Context(**context))
    return made[0]


def value(expr: str, field: str = "T", more: str = "", **given: Any) -> Any:
    """What one field becomes; `absent` when it is left alone; the rule when it fails."""
    result = run(f"{more}fields:\n  {field}: {expr}\n", **given)
    if isinstance(result, Failed):
        return [error.rule for error in result.errors]
    assert isinstance(result, list), result
    return result[0].fields.get(field, "absent")


@pytest.mark.parametrize(
    ("expr", "field", "expected"),
    [
        ("name", "T", " Acme "),
        ("{from: name, trim: true, case: upper}", "T", "ACME"),
        ("{from: name, replace: {A: B, ' ': ''}}", "T", "Bcme"),
        ("note", "T", None),
        ("{from: note, default: none}", "T", "none"),
        ("{from: note, default: {from: name, trim: true}}", "T", "Acme"),
        ("a.b", "T", "dotted"),
        ("amount", "N", "1234.50"),
        ("amount", "N2", "1234.50"),
        ("{from: amount, multiply: '1.005'}", "N", "1240.67250"),
        ("{from: amount, multiply: '1.005', scale: 2}", "N2", "1240.67"),
        ("{from: amount, scale: 0, round: up}", "N", "1235"),
        ("{from: amount, scale: 0}", "I", 1235),
        ("count", "I", 4),
        ("count", "N", "4"),
        ("count", "T", "4"),
        ("at", "At", "2026-01-06T02:00:00"),
        ("{from: at, as: date}", "D", "2026-01-06"),
        ("{from: at, as: date, tz: America/New_York}", "D", "2026-01-05"),
        ("day", "D", "2026-01-06"),
        ("flag", "B", "B"),
        ("level", "T", "1"),
        ("{from: level, as: label}", "T", "Gold"),
        ("{join: [level, name], as: label, with: '-'}", "T", "Gold- Acme "),
        ("{join: [name, note, count], trim: true}", "T", "Acme 4"),
        ("{first: [note, name]}", "T", " Acme "),
        ("tags", "L", ["a", "b"]),
        ("{from: tags, case: upper}", "L", ["A", "B"]),
        ("{from: tags, first: true}", "T", "a"),
        ("{last: tags}", "T", "b"),
        ("{from: a.b, split: t}", "L", ["do", "ed"]),
        ("{const: fixed}", "T", "fixed"),
        ("null", "T", None),
        ("{sum: entries.q}", "N", "4.0"),
        ("{max: entries.q}", "N", "2.5"),
        ("{min: entries.q}", "N", "1.5"),
        ("{count: entries}", "I", 2),
        ("{calc: amount / quantity - 1, scale: 2}", "N", "410.50"),
        ("{calc: 'round(amount, 1) + abs(-2) * min(3, 4) % 5'}", "N", "1235.5"),
        ("{from: amount, calc: value * 2}", "N", "2469.00"),
        ("{cel: 'record.count * 2'}", "I", 8),
        ('{cel: \'record.amount > 1000.0 ? "big" : "small"\'}', "T", "big"),
        ("{cel: 'record.tags.exists(t, t == \"b\")'}", "B", "B"),
        ("{cel: 'record.a.b'}", "T", "dotted"),
        (
            "{text: '{name}|{amount:,.2f}|{at:yyyy-MM-dd HH:mm}|{count:04d}'}",
            "T",
            " Acme |1,234.50|2026-01-06 02:00|0004",
        ),
        ("{from: name, if: 'record.flag'}", "T", " Acme "),
        ("{from: name, if: '!record.flag'}", "T", "absent"),
        ("nowhere", "T", "absent"),
        ("{calc: nowhere + 1}", "N", "absent"),
        ("{text: '{nowhere}'}", "T", "absent"),
        ("{from: nowhere, default: x}", "T", "absent"),
    ],
)
def test_a_value(expr: str, field: str, expected: object) -> None:
    assert value(expr, field) == expected


@pytest.mark.parametrize(
    ("expr", "field", "rule"),
    [
        ("name", "Short", "length"),
        ("{from: amount, multiply: '1.005'}", "N2", "scale"),
        ("name", "N", "decimal"),
        ("amount", "I", "integer"),
        ("at", "D", "date"),
        ("name", "E", "enum"),
        ("{calc: amount / 0}", "N", "calc"),
        ("{from: name, as: email}", "T", "email"),
        ("{from: name, as: url}", "T", "url"),
        ("{from: a.b, as: phone, region: CN}", "T", "phone"),
        ("{cel: 'record.name > 1'}", "T", "cel"),
        ("{param: unset}", "T", "param"),
        ("tags", "T", "text"),
    ],
)
def test_what_does_not_fit_fails_by_its_rule_and_on_error_stands_in(expr: str, field: str, rule: str) -> None:
    assert value(expr, field) == [rule]
    if expr.startswith("{"):
        assert value(f"{expr[:-1]}, on_error: null}}", field) is None


def test_on_error_stands_in() -> None:
    assert value("{from: name, as: email, on_error: null}") is None
    assert value("{from: name, as: email, on_error: none@example.com}") == "none@example.com"


def test_a_phone_number_becomes_international() -> None:
    assert value("{from: name, as: phone, region: CN}", record={"name": "138 0013 8000"}) == "+8613800138000"


def test_messages_hold_no_values() -> None:
    result = run("fields: {N: name, E: a.b}\n", record={"name": "very secret", "a.b": "also secret"})
    assert isinstance(result, Failed)
    assert [error.field for error in result.errors] == ["N", "E"]
    assert not any("secret" in error.message for error in result.errors)


def test_absent_leaves_alone_and_null_clears_or_keeps() -> None:
    text = "fields: {T: name, Short: {from: name, null: keep}}\n"
    assert run(text, record={})[0].fields == {}
    assert run(text, record={"name": None})[0].fields == {"T": None}
    assert run(text, record={"name": "  "})[0].fields == {"T": None}
    assert run("defaults: {null: keep}\n" + text, record={"name": ""})[0].fields == {}
    assert run("defaults: {null: keep}\nfields: {T: null}\n", record={})[0].fields == {"T": None}


def test_a_bad_record_fails_with_all_its_errors_and_harms_no_neighbour() -> None:
    made = build("title: name\nfields: {N: amount, I: count, T: name}\n")
    good = {"name": "a", "amount": "1", "count": 1}
    results = made.run(
        [Item("1", good), Item("2", {"name": "b", "amount": "x", "count": "y"}), Item("3", good)], Context()
    )
    assert isinstance(results[0], list)
    assert isinstance(results[2], list)
    failed = results[1]
    assert isinstance(failed, Failed)
    assert [error.field for error in failed.errors] == ["N", "I"]
    assert failed.title == "b"


def test_when_and_require() -> None:
    text = (
        "title: name\n"
        "when: record.count > 3\n"
        "require:\n  - {that: record.amount > 1.0, say: no amount}\n  - {that: 'record.note != null', say: no note}\n"
        "fields: {T: name}\n"
    )
    assert run(text, record={"name": "n", "count": 1}) == Filtered("when: record.count > 3", "n")
    assert run(text, record={"name": "n", "count": 4, "amount": "0.5"}) == Refused(["no amount", "no note"], "n")
    assert isinstance(run(text, record={"name": "n", "count": 4, "amount": "2", "note": "x"}), list)
    failed = run(text, record={"name": "n", "count": None})
    assert isinstance(failed, Failed)
    assert failed.errors[0].field == "when"


def test_when_changes() -> None:
    text = "when_changes: {level: {to: '2'}}\nfields: {T: name}\n"
    assert isinstance(run(text, record={"level": "2"}), list)
    assert isinstance(run(text, record={"level": "2"}, item_previous={"level": "1"}), list)
    assert isinstance(run(text, record={"level": "2"}, item_previous={"level": "2"}), Filtered)
    assert isinstance(run(text, record={"level": "1"}, item_previous={"level": "2"}), Filtered)
    anything = "when_changes: [amount]\nfields: {T: name}\n"
    assert isinstance(run(anything, record={"amount": "1.0"}, item_previous={"amount": "1.00"}), Filtered)
    assert isinstance(run(anything, record={"amount": None}, item_previous={"amount": "1.00"}), list)


# ---- references ----


def answers(*known: tuple[str, str, str], facet: str = "", state: RefState = RefState.FOUND) -> dict[RefKey, RefAnswer]:
    return {
        RefKey("customer", object_, value, facet=facet): RefAnswer(state, f"id-{number}", {"number": number})
        for object_, value, number in known
    }


def test_a_reference_becomes_what_the_target_field_takes() -> None:
    refs = answers(("Account", "c1", "C001"))
    assert value("{from: customer, ref: customer}", "C", refs=refs) == "C001"
    assert value("{from: customer, ref: customer}", "T", refs=refs) == "id-C001"
    assert value("{from: customer, ref: customer, take: number}", "T", refs=refs) == "C001"
    assert value("{from: customer, ref: customer, take: code}", "T", refs=refs) == ["ref"]
    assert value("{from: customer, ref: customer}", "C", record={"customer": None}) is None


def test_what_is_asked_for_is_what_is_looked_for() -> None:
    made = build(
        "let: {org: {from: level, lookup: org}}\n"
        "lookups: {org: {'1': '100'}}\n"
        "fields: {C: {from: customer, ref: customer, facet: let.org}, L: {from: owners, ref: employee, by: number}}\n"
    )
    asks = made.collect([Item("1", RECORD)], Context())
    assert asks.refs == {
        RefKey("customer", "Account", "c1", "id", "100"),
        RefKey("employee", "User", "u1", "number"),
        RefKey("employee", "User", "u2", "number"),
    }
    waiting = made.run([Item("1", RECORD)], Context())[0]
    assert isinstance(waiting, Waiting)
    assert set(waiting.refs) == asks.refs


def test_a_filtered_record_asks_for_nothing() -> None:
    made = build("when: record.count > 9\nfields: {C: {from: customer, ref: customer}}\n")
    assert made.collect([Item("1", RECORD)], Context()).refs == set()


@pytest.mark.parametrize("which", ["first: true", "last: owners"])
def test_one_of_a_list_of_references_refers_to_the_same_object_as_all(which: str) -> None:
    """Without the object nobody knows what to wait for, and the record would rest until the next sweep."""
    origin = "from: owners, first: true" if which.startswith("first") else which
    made = build(f"fields: {{T: {{{origin}, ref: employee, by: number}}}}\n")
    one = "u1" if which.startswith("first") else "u2"
    assert made.collect([Item("1", RECORD)], Context()).refs == {RefKey("employee", "User", one, "number")}


def test_a_facet_that_is_a_reference_is_asked_for_in_a_second_round() -> None:
    made = build(
        "let: {org: {from: name, trim: true, ref: org}}\nfields: {C: {from: customer, ref: customer, facet: let.org}}\n"
    )
    first = made.collect([Item("1", RECORD)], Context()).refs
    assert RefKey("org", None, "Acme") in first
    known = {RefKey("org", None, "Acme"): RefAnswer(RefState.FOUND, "100")}
    assert (
        RefKey("customer", "Account", "c1", "id", "100") in made.collect([Item("1", RECORD)], Context(refs=known)).refs
    )


def test_missing_and_unusable_references() -> None:
    wanted = RefKey("customer", "Account", "c1")
    text = "fields: {T: name, C: {from: customer, ref: customer%s}}\n"
    assert run(text % "") == Waiting([wanted])
    assert run(text % "", refs=answers(("Account", "c1", "x"), state=RefState.UNUSABLE)) == Waiting([wanted])
    owing = run(text % ", optional: true")[0]
    assert owing.owes == {"C": wanted}
    assert "C" not in owing.fields
    assert run(text % ", else: X")[0].fields["C"] == "X"
    patient = text % ", wait: 2h, else: {param: p}"
    assert run(patient, params={"p": "P"}, item_waited=7199.0) == Waiting([wanted])
    assert run(patient, params={"p": "P"}, item_waited=7200.0)[0].fields["C"] == "P"
    assert run(patient, {"name": "x", "customer": None}, params={"p": "P"})[0].fields["C"] == "P"


# ---- lookups ----


def test_lookups_inline() -> None:
    tables = "lookups: {l: {'1': one, 4: four, else: %s}}\n"
    assert value("{from: level, lookup: l}", more=tables % "error") == "one"
    assert value("{from: count, lookup: l}", more=tables % "error") == "four"
    assert value("{from: name, lookup: l}", more=tables % "error") == ["lookup"]
    assert value("{from: name, lookup: l}", more=tables % "keep") == " Acme "
    assert value("{from: name, lookup: l}", more=tables % "other") == "other"
    assert value("{from: name, lookup: l, else: mine}", more=tables % "error") == "mine"
    assert value("{from: note, lookup: l}", more=tables % "error") is None


def test_lookups_of_a_file() -> None:
    files = {"t.csv": "\ufeffcode,erp,rate\nCNY,PRE001,0.13\nUSD,PRE007,\n", "two.csv": "a,b,out\n1,4,yes\n"}

    def read_file(name: str) -> str:
        if name not in files:
            raise NotFound(f"there is no file `{name}`")
        return files[name]

    text = (
        "lookups: {t: {file: t.csv}, two: {file: two.csv, keys: [a, b]}}\n"
        "fields: {T: {from: name, lookup: t}, N: {from: name, lookup: t, take: rate}, "
        "E: {from: [level, count], lookup: two, else: x}}\n"
    )
    made = build(text, read_file=read_file)
    result = made.run([Item("1", {"name": "CNY", "level": "1", "count": 9})], Context())[0]
    assert isinstance(result, list)
    assert result[0].fields == {"T": "PRE001", "N": "0.13", "E": "x"}
    with pytest.raises(InvalidInput, match="no file `gone"):
        build("lookups: {t: {file: gone.csv}}\nfields: {T: name}\n", read_file=read_file)
    changed = build(text, read_file=lambda name: files[name] + "EUR,x,1\n")
    assert changed.fingerprint != made.fingerprint


def test_lookups_in_the_hub_wait_for_their_row() -> None:
    text = (
        "lookups: {tax: {table: tax, keys: [country, class]}}\n"
        "fields: {N: {from: [level, name], lookup: tax, take: rate}}\n"
    )
    made = build(text)
    items = [Item("1", {"level": "1", "name": "x"})]
    key = TableKey("tax", ("1", "x"))
    assert made.collect(items, Context()).tables == {key}
    assert made.hub_tables == {"tax"}
    assert made.run(items, Context())[0] == Waiting([], [key])
    known = Context(tables={"tax": {("1", "x"): {"rate": "13"}}})
    result = made.run(items, known)[0]
    assert isinstance(result, list)
    assert result[0].fields == {"N": "13"}


# ---- around the fields ----


def test_on_create_and_on_change() -> None:
    text = "fields: {T: {from: name, on: create}, N: {from: amount, on: change}, S: {number: 'C{0000}'}}\n"
    made = build(text)
    assert (made.create_only, made.change_only) == ({"T"}, {"N"})
    new = run(text)[0]
    assert set(new.fields) == {"T"}
    assert new.numbers == {"S": "C{0000}"}
    there = run(text, item_exists=True)[0]
    assert set(there.fields) == {"N"}
    assert there.numbers == {}


def test_match_keys_leave_out_what_is_empty() -> None:
    text = (
        "match: [[T, N], {Short: company_name, veto: C}]\nfields: {T: name, N: amount, Short: {const: abc}, C: note}\n"
    )
    keys = run(text)[0].match
    assert [dict(key.fields) for key in keys] == [{"T": " Acme ", "N": "1234.50"}, {"Short": "abc"}]
    assert keys[1].normalise == {"Short": "company_name"}
    assert keys[1].veto == {}
    assert len(run(text, record={"name": "", "amount": "1"})[0].match) == 1


def test_what_a_record_carries_besides() -> None:
    text = (
        "title: {text: '{name}-{count}'}\n"
        "once_per: [_id, count]\n"
        "actions: [{if: record.count > 3, do: [Cancel, Close]}, {if: record.count > 9, do: Never}]\n"
        "ensure: {N2: {equals: amount, within: '0.01'}}\n"
        "fields: {T: name}\n"
    )
    made = run(text)[0]
    assert isinstance(made, Rendered)
    assert made.title == " Acme -4"
    assert made.once == "1|4"
    assert made.actions == ("Cancel", "Close")
    assert made.ensure == {"N2": ("1234.50", "0.01")}


def test_the_record_to_write_may_be_named_by_another_entity() -> None:
    text = (
        HEAD.replace("object: B}", "object: B, create: never, id: {from: customer, ref: quote}}")
        + "fields: {T: name}\n"
    )
    made = compile_mapping(load(text, "m.yaml"), source=schema("A", SOURCE), target=schema("B", TARGET), plugins={})
    assert not made.creates
    asked = made.collect([Item("1", RECORD)], Context()).refs
    assert asked == {RefKey("quote", "Account", "c1")}
    result = made.run([Item("1", RECORD)], Context())[0]
    assert isinstance(result, list)
    assert result[0].target_id == RefKey("quote", "Account", "c1")
    assert isinstance(made.run([Item("1", {"customer": None})], Context())[0], Failed)


def test_lets_are_made_once_and_only_when_used() -> None:
    lets = (
        "let: {bad: {from: name, as: email}, trimmed: {from: name, trim: true}, both: {join: [let.trimmed, count]}}\n"
    )
    assert value("let.both", more=lets) == "Acme 4"
    assert value("{cel: 'let.trimmed + \"!\"'}", more=lets) == "Acme!"
    with pytest.raises(InvalidInput, match="circle"):
        build("let: {a: let.b, b: let.a}\nfields: {T: let.a}\n")


def test_plug_ins_come_by_name_only() -> None:
    def group(level: str, amount: object) -> str:
        return f"{level}:{amount}"

    text = "fields: {T: {call: acme.group, from: [level, amount]}}\n"
    assert run(text, plugins={"acme.group": group})[0].fields["T"] == "1:1234.50"
    with pytest.raises(InvalidInput, match=r"no function `os.system`"):
        build("fields: {T: {call: os.system, from: [name]}}\n")

    def broken(value: str) -> str:
        raise RuntimeError(f"the password is {value}")

    failed = run("fields: {T: {call: x.broken, from: [name]}}\n", plugins={"x.broken": broken})
    assert isinstance(failed, Failed)
    assert "password" not in failed.errors[0].message


def test_write_back() -> None:
    made = build(
        "write_back: {ok: {no: number, state: sent, msg: null}, failed: {state: bad, msg: message}}\n"
        "fields: {T: name}\n"
    )
    assert made.written_back(ok=True, keys={"id": "9", "number": "N9"}) == {"no": "N9", "state": "sent", "msg": None}
    assert made.written_back(ok=False, keys={}, message="why") == {"state": "bad", "msg": "why"}


def test_leaving_may_set_fields() -> None:
    made = build(
        "on_leave: {set: {T: {const: B}, N: amount}}\non_delete: {do: Cancel}\nwhen: record.flag\nfields: {T: name}\n"
    )
    assert made.on_delete_set is None
    assert made.on_leave_set is not None
    result = made.on_leave_set.run([Item("1", {**RECORD, "flag": False})], Context())[0]
    assert isinstance(result, list)
    assert result[0].fields == {"T": "B", "N": "1234.50"}
    assert made.needs.fields == {"_id", "flag", "name", "amount"}


def test_needs_name_what_is_read() -> None:
    needs = build("title: name\nwhen: record.count > 1\nfields: {T: {text: '{note}'}, N: {sum: entries.q}}\n").needs
    assert needs.fields == {"_id", "name", "count", "note", "entries"}


def test_the_fingerprint_knows_what_a_mapping_does_not_how_it_is_written() -> None:
    plain = build("fields: {T: name}\n")
    assert build("# a comment\nfields:\n  T:    name\n").fingerprint == plain.fingerprint
    tested = build("fields: {T: name}\ntests: [{name: x, given: {record: {}}, expect: {}}]\n")
    assert tested.fingerprint == plain.fingerprint
    assert build("fields: {T: note}\n").fingerprint != plain.fingerprint
    assert build("lookups: {x: {a: b}}\nfields: {T: name}\n").fingerprint != plain.fingerprint


HOSTILE = '"); import os; os.system("touch /tmp/never"); ("'


def test_what_a_user_writes_never_becomes_code() -> None:
    """Every text that a mapping can hold is bound as a constant: none is found in the code that is run."""
    quoted = "'" + HOSTILE.replace("'", "''") + "'"
    text = (
        f"lookups: {{{quoted}: {{{quoted}: {quoted}, else: {quoted}}}}}\n"
        f"fields:\n"
        f"  {quoted}: {{const: {quoted}}}\n"
        f"  T: {{from: name, replace: {{{quoted}: {quoted}}}, lookup: {quoted}, default: {quoted}, else: {quoted}}}\n"
        f"  L: {{join: [name], with: {quoted}}}\n"
        f"  C: {{from: customer, ref: {quoted}, take: {quoted}, by: {quoted}, optional: true}}\n"
        f"write_back: {{ok: {{{quoted}: {quoted}}}}}\n"
    )
    made = build(text)
    assert "os.system" not in made.source
    assert "touch" not in made.source
    result = made.run([Item("1", RECORD)], Context())[0]
    assert isinstance(result, list)
    assert result[0].fields[HOSTILE] == HOSTILE
