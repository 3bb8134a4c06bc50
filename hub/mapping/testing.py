"""Runs the tests that stand in a mapping file: no system, no store, only what each test gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.domain.errors import Place
from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.domain.values import decimal_text, epoch_ms
from hub.mapping.compile import CompiledMapping, compile_mapping
from hub.mapping.compile_rows import walk
from hub.mapping.expressions import NotArithmetic, names, parse_calc
from hub.mapping.load_values import resolve_path
from hub.mapping.lookups import ReadFile
from hub.mapping.model import Aggregate, Apportion, Calc, Case, Expr, From, MappingSpec, Path
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
    Result,
    Waiting,
)

_ROUNDS = 8  # of asking, for references whose facet is a reference


@dataclass(frozen=True, slots=True)
class CaseReport:
    """How one test went: `differences` are lines that a person can read, none if it passed."""

    name: str
    place: Place
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differences


def run_tests(
    spec: MappingSpec,
    *,
    source: ObjectSchema | None = None,
    target: ObjectSchema | None = None,
    related: Mapping[str, ObjectSchema] | None = None,
    plugins: Mapping[str, Callable[..., Any]] | None = None,
    read_file: ReadFile | None = None,
) -> list[CaseReport]:
    """Run the file's tests. Types come from the schemas; where there are none, from the values and from their use.

    A condition that depends on what a test does not give is taken as satisfied. Raises InvalidInput if the mapping
    can't be compiled.
    """
    assumed = assume(spec)
    schemas = {name: (related or {}).get(name) or assumed[name] for name in spec.related}
    compiled = compile_mapping(
        spec,
        source=source or assumed[""],
        target=target,
        related=schemas,
        plugins=plugins,
        read_file=read_file,
        partial=True,
    )
    return [CaseReport(case.name, case.place, tuple(_check(case, translate(compiled, case)))) for case in spec.tests]


def translate(compiled: CompiledMapping, case: Case) -> Result:
    """What the mapping makes of a test's record."""
    record = _json(case.record)
    item = Item(
        id=str(record.get("_id") or record.get("id") or "1"),
        record=record,
        related=_json(case.related),
        waited=case.waited,
        exists=case.exists,
        previous=_json(case.previous) if case.previous is not None else None,
    )
    context = Context(
        params=_json(case.params),
        tables=_tables(compiled, case),
        now=epoch_ms(datetime.fromisoformat(case.now)) if case.now else 0,
    )
    answers: dict[RefKey, RefAnswer] = {}
    for _ in range(_ROUNDS):
        asked = compiled.collect([item], context).refs - answers.keys()
        if not asked:
            break
        answers |= {key: _answer(case, key) for key in asked}
        context.refs = answers
    return compiled.run([item], context)[0]


def assume(spec: MappingSpec) -> dict[str, ObjectSchema]:
    """Schemas by relation (the record's own is ``), with the fields that the mapping computes with as decimals."""
    found: dict[str, dict[str, Field]] = {"": {}, **{name: {} for name in spec.related}}
    for path in _numbers(spec):
        if path.root == "related" and path.related:
            found[path.related][path.name] = Field(path.name, FieldType.DECIMAL)
        elif path.root in ("scope", "record", "row", "rows"):
            # Which rows a path inside `each` walks is not worth telling apart here.
            for name in found if path.root != "record" else [""]:
                found[name][path.name] = Field(path.name, FieldType.DECIMAL)
    return {name: ObjectSchema(name, name, "", fields, origin="assumed") for name, fields in found.items()}


def _numbers(spec: MappingSpec) -> Iterator[Path]:
    for node in walk(spec):
        match node:
            case Expr(origin=From(paths=(path,)), as_="decimal" | "money" | "integer"):
                yield path
            case Aggregate(function="sum", path=path):
                yield path
            case Apportion(total=total, over=over):
                yield from (total, over)
            case Calc(text=text, place=place):
                try:
                    used = list(names(parse_calc(text)))
                except NotArithmetic:
                    continue  # told by the compiler, with its place
                paths = (resolve_path(name, place, spec.related) for name in used)
                yield from (found for found in paths if found is not None)


class _AnyKey(dict[str, str]):
    """The keys of an entity of which a test gives one value, whatever key is taken."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def get(self, key: str, default: Any = None) -> Any:
        return self._value


def _answer(case: Case, key: RefKey) -> RefAnswer:
    known = case.ids.get(key.kind) or {}
    given = known.get(f"{key.value}@{key.facet}", known.get(key.value)) if isinstance(known, Mapping) else None
    if given is None:
        return RefAnswer(RefState.MISSING)
    if isinstance(given, Mapping):
        keys = {name: str(value) for name, value in given.items()}
        return RefAnswer(RefState.FOUND, keys.get("id"), keys)
    return RefAnswer(RefState.FOUND, str(given), _AnyKey(str(given)))


def _tables(compiled: CompiledMapping, case: Case) -> dict[str, dict[tuple[str, ...], Any]]:
    tables: dict[str, dict[tuple[str, ...], Any]] = {}
    for spec in compiled.spec.lookups.values():
        rows = case.tables.get(spec.table or "", case.tables.get(spec.name))
        if spec.table is None or rows is None:
            continue
        if isinstance(rows, list):
            keyed = {tuple(str(row.get(name)) for name in spec.keys): _json(row) for row in rows}
        else:
            keyed = {tuple(str(key).split("|")): _json(row) for key, row in rows.items()}
        tables[spec.table] = keyed
    return tables


def _json(value: Any) -> Any:
    """Values as records hold them: a decimal that was written without quotes is text."""
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, Mapping):
        return {key: _json(below) for key, below in value.items()}
    return [_json(below) for below in value] if isinstance(value, list) else value


# ---- what was expected -----------------------------------------------------------------------------------------------


def _check(case: Case, result: Result) -> Iterator[str]:
    if case.expect_error is not None:
        messages = _messages(result)
        if not any(case.expect_error in message for message in messages):
            yield f"expected an error with `{case.expect_error}`; {describe(result)}"
    if case.expect_filtered is not None:
        rule = result.rule if isinstance(result, Filtered) else None
        wanted = case.expect_filtered
        as_wanted = (rule is not None) == wanted if isinstance(wanted, bool) else rule is not None and wanted in rule
        if not as_wanted:
            said = "not to be filtered" if wanted is False else f"to be filtered ({wanted})"
            yield f"expected it {said}; {describe(result)}"
    if case.expect_waiting is not None and not set(case.expect_waiting) <= _waits_for(result):
        yield f"expected it to wait for {', '.join(case.expect_waiting)}; {describe(result)}"
    if case.expect_actions is not None:
        actions = [action for one in result for action in one.actions] if isinstance(result, list) else None
        if actions != list(case.expect_actions):
            yield f"expected the operations {', '.join(case.expect_actions) or '(none)'}; {_shown(actions)}"
    for expected, whole in ((case.expect, False), (case.expect_only, True)):
        if expected is not None:
            yield from _check_fields(expected, result, whole)


def _waits_for(result: Result) -> set[str]:
    if not isinstance(result, Waiting):
        return set()
    return {key.kind for key in result.refs} | {key.table for key in result.tables}


def _check_fields(expected: Any, result: Result, whole: bool) -> Iterator[str]:
    if not isinstance(result, list):
        yield f"expected a record; {describe(result)}"
        return
    found = [flat(one) for one in result]
    if isinstance(expected, list):
        yield from _differences("", expected, found, whole)
    elif len(found) != 1:
        yield f"expected one record, and there are {len(found)}: write a list"
    else:
        yield from _differences("", expected, found[0], whole)


def flat(rendered: Rendered) -> dict[str, Any]:
    """A translated record as a test writes it: fields, tables as lists of rows, running numbers as their pattern."""
    rows = {table: [row.fields for row in rows] for table, rows in rendered.rows.items()}
    return {**rendered.fields, **rendered.numbers, **rows}


def _differences(path: str, expected: Any, found: Any, whole: bool) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name, value in expected.items():
            below = f"{path}.{name}" if path else str(name)
            if name in found:
                yield from _differences(below, value, found[name], whole)
            else:
                yield f"{below}: expected {_shown(value)}, and it is left alone"
        if whole:
            for name in found.keys() - expected.keys():
                yield f"{path + '.' if path else ''}{name}: not expected, and is {_shown(found[name])}"
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{path or 'records'}: expected {len(expected)}, and there are {len(found)}"
        for place, (one, other) in enumerate(zip(expected, found, strict=False)):
            yield from _differences(f"{path}[{place + 1}]", one, other, whole)
    elif not _equal(expected, found):
        yield f"{path}: expected {_shown(expected)}, and is {_shown(found)}"


def _equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, (int, Decimal)) and isinstance(found, str):
        # A number without quotes means the number, however many zeros the target's shape has.
        try:
            return Decimal(found) == expected
        except InvalidOperation:
            return False
    return bool(expected == found)


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else ("null" if value is None else str(value))


def _messages(result: Result) -> list[str]:
    if isinstance(result, Refused):
        return result.messages
    return [error.message for error in result.errors] if isinstance(result, Failed) else []


def describe(result: Result) -> str:
    """What came out, in one line."""
    match result:
        case Filtered():
            return f"it was filtered by `{result.rule}`"
        case Refused():
            return f"it was refused: {'; '.join(result.messages)}"
        case Waiting():
            waits = [f"{key.kind} {key.value}" for key in result.refs]
            waits += [f"{key.table} {' '.join(key.key)}" for key in result.tables]
            return f"it waits for {', '.join(waits)}"
        case Failed():
            return f"it failed: {'; '.join(error.message for error in result.errors)}"
        case _:
            return "it was translated"
