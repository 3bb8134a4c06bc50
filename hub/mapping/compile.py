"""Compiles a mapping, once, into functions over a batch; and says all that a sync engine has to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from typing import Any

from hub.domain.errors import InvalidInput, Problem
from hub.domain.record import Fields
from hub.domain.schema import ObjectSchema
from hub.mapping.compile_batch import BatchBuild
from hub.mapping.compile_scope import ALL, RefSite
from hub.mapping.fingerprint import fingerprint
from hub.mapping.functions import load_plugins
from hub.mapping.lookups import ReadFile, load_tables
from hub.mapping.model import (
    Each,
    Expr,
    FixedRows,
    Leaving,
    MappingSpec,
    Match,
    WriteBack,
)
from hub.mapping.result import Asks, Failed, Filtered, Item, RefKey, Rendered, Result, TableKey, Waiting
from hub.mapping.result import Context as BatchContext
from hub.mapping.runtime import key_text, rows_of

# Wide enough that sums and products of business figures are exact; a division is rounded at its 50th digit.
_EXACT = Context(prec=50, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])


@dataclass(frozen=True, slots=True)
class RelatedNeed:
    """What to gather of one relation.

    `where` maps a field of `object` to a field of the record; `id` is the field, of the record or of the rows of `of`,
    that holds the id. `fields` None: all.
    """

    name: str
    object: str
    fields: frozenset[str] | None
    where: Mapping[str, str]
    id: str | None
    of: str | None
    wakes: bool


@dataclass(frozen=True, slots=True)
class Needs:
    """The source fields that a mapping reads (None: all), and its relations in an order fit for gathering."""

    fields: frozenset[str] | None
    related: tuple[RelatedNeed, ...]
    params: frozenset[str]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """How one target table is kept: from the relation `related`, or the source's own table `field`, or fixed rows.

    `entity` is the kind of its rows, `key` the source rows' field that tells them apart.
    """

    name: str
    related: str | None
    field: str | None
    object: str | None
    key: str | None
    entity: str | None
    missing: str
    foreign: str
    match: tuple[str, ...]
    fixed: bool = False


@dataclass(slots=True)
class CompiledMapping:
    """A mapping that can be run. It is immutable in use, and does no I/O.

    `on_leave_set` and `on_delete_set` translate a record that left, or was deleted, where the policy is to `set`.
    """

    spec: MappingSpec
    needs: Needs
    tables: Mapping[str, TableFacts]
    create_only: frozenset[str]
    change_only: frozenset[str]
    append_only: frozenset[str]
    owners: Mapping[str, str]
    written: frozenset[str]
    fingerprint: str
    hub_tables: frozenset[str]
    source: str
    on_leave_set: CompiledMapping | None
    on_delete_set: CompiledMapping | None
    _run: Callable[..., list[Any]]
    _collect: Callable[..., tuple[list[tuple[RefSite, set[tuple[str, str]]]], set[tuple[str, tuple[str, ...]]]]]

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def steps(self) -> tuple[str, ...]:
        return self.spec.target.after

    @property
    def options(self) -> Mapping[str, Any]:
        return self.spec.target.options

    @property
    def when_locked(self) -> str:
        return self.spec.target.when_locked

    @property
    def creates(self) -> bool:
        return self.spec.target.create != "never"

    @property
    def match(self) -> tuple[Match, ...]:
        return self.spec.match

    @property
    def on_leave(self) -> Leaving:
        return self.spec.on_leave

    @property
    def on_delete(self) -> Leaving:
        return self.spec.on_delete

    @property
    def on_adopt(self) -> str | None:
        return self.spec.on_adopt

    @property
    def write_back(self) -> WriteBack | None:
        return self.spec.write_back

    def collect(self, items: Sequence[Item], context: BatchContext) -> Asks:
        """The references and hub-table rows that the batch may need: never fewer than `run` will look for.

        A facet that is itself a reference is known only when that one is answered: ask again with the answers in
        `context` until nothing new comes.
        """
        with localcontext(_EXACT):
            sites, tables = self._collect(self._split(items)[0], context)
        refs = {
            RefKey(site.kind, site.object, value, site.by, facet) for site, asked in sites for facet, value in asked
        }
        return Asks(refs, {TableKey(table, key) for table, key in tables})

    def run(self, items: Sequence[Item], context: BatchContext) -> list[Result]:
        """One result an item, in order. A record that can't be translated never harms its neighbours."""
        with localcontext(_EXACT):
            if self.spec.split is None:
                return self._run(items, context)
            parts, counts, facets = self._split(items)
            results = self._run(parts, context)
        merged: list[Result] = []
        start = 0
        for count in counts:
            merged.append(_merge(results[start : start + count], facets[start : start + count], self.spec))
            start += count
        return merged

    def written_back(self, *, ok: bool, keys: Mapping[str, str | None], message: str | None = None) -> Fields:
        """What `write_back` puts into the source: `keys` are the target's (`id`, `number`), `message` why it failed."""
        spec = self.spec.write_back
        given: Fields = {}
        for name, value in ((spec.ok if ok else spec.failed) if spec else {}).items():
            if value.kind == "key":
                given[name] = keys.get(str(value.value))
            elif value.kind == "message":
                given[name] = message
            else:
                given[name] = format(value.value, "f") if isinstance(value.value, Decimal) else value.value
        return given

    def _split(self, items: Sequence[Item]) -> tuple[Sequence[Item], list[int], list[str]]:
        """The items of a `split:` mapping, one a facet; how many each became, and their facets."""
        spec = self.spec.split
        if spec is None:
            return items, [], []
        parts: list[Item] = []
        counts: list[int] = []
        facets: list[str] = []
        for item in items:
            groups = _groups(item, spec.rows.related or spec.rows.name, spec.by.name, spec.rows.related is not None)
            counts.append(len(groups))
            for facet, part in groups:
                facets.append(facet)
                parts.append(part)
        return parts, counts, facets


def compile_mapping(
    mapping: MappingSpec,
    *,
    source: ObjectSchema | None,
    target: ObjectSchema | None,
    related: Mapping[str, ObjectSchema] | None = None,
    plugins: Mapping[str, Callable[..., Any]] | None = None,
    read_file: ReadFile | None = None,
    partial: bool = False,
    trace: Callable[[str, Any], None] | None = None,
    trace_field: Callable[[str], None] | None = None,
) -> CompiledMapping:
    """Compile a mapping against the schemas of its source, its target and its relations (by the relation's name).

    `plugins` are the functions of `call:` (None: those of the entry points); `read_file` reads lookup files. Without a
    schema values are taken as they are. `partial` (tests) takes conditions on what was not given as undecided: they let
    pass. `trace` is told each step of a value, after `trace_field` which field it is of. Raises InvalidInput with every
    problem that keeps the mapping from running.
    """
    problems: list[Problem] = []
    tables = load_tables(mapping.lookups, read_file, problems)
    functions = load_plugins() if plugins is None else plugins
    schemas = dict(related or {})

    def build(collect: bool) -> BatchBuild:
        made = BatchBuild(
            mapping, source, target, schemas, tables, functions, problems,
            collect=collect, partial=partial, trace=trace is not None,
        )  # fmt: skip
        if trace is not None:
            made.code.offer({"trace": (lambda step, value: None) if collect else trace})
            made.code.offer({"trace_field": (lambda name: None) if collect or trace_field is None else trace_field})
        return made

    running, asking = build(False), build(True)
    run, collect = running.batch(), asking.asking()
    if problems:
        raise InvalidInput(f"The mapping `{mapping.name}` can't be compiled.", problems, hint="run `hub mapping check`")
    top = {rule.name: rule.rule for rule in mapping.fields.values()}

    def setting(policy: Leaving) -> CompiledMapping | None:
        if policy.kind != "set":
            return None
        return compile_mapping(
            _only(mapping, policy), source=source, target=target, related=schemas, plugins=functions,
            read_file=read_file, partial=partial,
        )  # fmt: skip

    left, deleted = setting(mapping.on_leave), setting(mapping.on_delete)
    also = [one.needs for one in (left, deleted) if one is not None]
    return CompiledMapping(
        spec=mapping,
        needs=_all_needs([_needs(mapping, running, source), *also]),
        tables={name: found for name, rule in top.items() if (found := _table(name, rule, running)) is not None},
        create_only=_on(top, "create"),
        change_only=_on(top, "change"),
        append_only=frozenset(
            name for name, rule in top.items() if not isinstance(rule, FixedRows) and rule.list == "append"
        ),
        owners={
            name: rule.owner for name, rule in top.items() if not isinstance(rule, FixedRows) and rule.owner is not None
        },
        written=frozenset(top),
        fingerprint=fingerprint(mapping, tables),
        hub_tables=frozenset(table.spec.table for table in tables.values() if table.spec.table is not None),
        source=running.code.source,
        on_leave_set=left,
        on_delete_set=deleted,
        _run=run,
        _collect=collect,
    )


def _on(top: Mapping[str, Expr | Each | FixedRows], when: str) -> frozenset[str]:
    return frozenset(name for name, rule in top.items() if not isinstance(rule, FixedRows) and rule.on == when)


def _table(name: str, rule: Expr | Each | FixedRows, build: BatchBuild) -> TableFacts | None:
    if isinstance(rule, FixedRows):
        match = (rule.key,) if rule.key else ()
        return TableFacts(name, None, None, None, None, None, rule.missing, rule.foreign, match, fixed=True)
    if not isinstance(rule, Each) or rule.value is not None:
        return None
    _, _, id_field, object_ = build.row_facts(rule)
    key = rule.key.name if rule.key else (rule.group.name if rule.group else id_field)
    field = None if rule.path.related else rule.path.name
    return TableFacts(name, rule.path.related, field, object_, key, rule.entity, rule.missing, rule.foreign, rule.match)


def _needs(mapping: MappingSpec, build: BatchBuild, source: ObjectSchema | None) -> Needs:
    own = set(build.needs[""])
    if source is not None and source.id_field:
        own.add(source.id_field)
    if mapping.split is not None and mapping.split.rows.related is not None:
        build.needs[mapping.split.rows.related].add(mapping.split.by.name)
    for relation in mapping.related.values():
        paths = [*relation.where.values(), *([relation.id] if relation.id else [])]
        names = {path.name for path in paths}
        (build.needs[relation.of] if relation.of else own).update(names)
    ordered: list[RelatedNeed] = []
    for relation in sorted(mapping.related.values(), key=lambda one: one.of is not None):
        wanted = build.needs[relation.name]
        schema = build.related.get(relation.name)
        # Rows as such (`each: lines`, `count: lines`) need no field of their own; a single record as such needs all.
        everything = ALL in wanted and not relation.many
        named = frozenset((wanted - {ALL}) | ({schema.id_field} if schema and schema.id_field else set()))
        ordered.append(
            RelatedNeed(
                relation.name, relation.object, None if everything else named,
                {name: path.name for name, path in relation.where.items()},
                relation.id.name if relation.id else None, relation.of, relation.wakes,
            )
        )  # fmt: skip
    return Needs(None if ALL in own else frozenset(own), tuple(ordered), frozenset(build.params))


def _only(mapping: MappingSpec, policy: Leaving) -> MappingSpec:
    """A mapping that does nothing but what a policy sets."""
    return MappingSpec(
        mapping.name, mapping.entity, mapping.place, mapping.source, mapping.target, policy.set,
        title=mapping.title, related=mapping.related, null=mapping.null, let=mapping.let, lookups=mapping.lookups,
    )  # fmt: skip


def _all_needs(needs: Sequence[Needs]) -> Needs:
    """What all of these need together."""

    def union(fields: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
        every = list(fields)
        return None if None in every else frozenset().union(*(one for one in every if one is not None))

    related = tuple(
        replace(one, fields=union(other.related[place].fields for other in needs))
        for place, one in enumerate(needs[0].related)
    )
    params = frozenset().union(*(one.params for one in needs))
    return Needs(union(one.fields for one in needs), related, params)


def _groups(item: Item, rows: str, by: str, related: bool) -> list[tuple[str, Item]]:
    held = item.related.get(rows) if related else item.record.get(rows)
    try:
        found = rows_of(held) if held is not None else []
        groups: dict[str, list[Any]] = {}
        for row in found:
            value = row.get(by)
            groups.setdefault("" if value is None else key_text(value), []).append(row)
    except ValueError:
        return [("", item)]
    if related:
        return [(facet, replace(item, related={**item.related, rows: part})) for facet, part in groups.items()]
    return [(facet, replace(item, record={**item.record, rows: part})) for facet, part in groups.items()]


def _merge(results: Iterable[Any], facets: Sequence[str], spec: MappingSpec) -> Result:
    """One result of the parts of one record: an error or a wait in one part holds the others back."""
    rendered: list[Rendered] = []
    failed, waiting, other = Failed([]), Waiting(), None
    for facet, result in zip(facets, results, strict=True):
        match result:
            case Failed():
                failed.errors.extend(error for error in result.errors if error not in failed.errors)
                failed.title = result.title
            case Waiting():
                waiting.refs.extend(result.refs)
                waiting.tables.extend(result.tables)
                waiting.title = result.title
            case list():
                for part in result:
                    part.facet = facet
                    rendered.append(part)
            case _:
                other = result
    if failed.errors:
        return failed
    if waiting.refs or waiting.tables:
        return waiting
    if rendered:
        return rendered
    return other or Filtered(f"split: no rows in {spec.split.rows.text}" if spec.split else "split")
