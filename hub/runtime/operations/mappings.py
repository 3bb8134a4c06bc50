"""Mappings on real records: how one comes about field by field, and what an edit would change."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from pydantic import Field

from hub.domain.errors import NotFound
from hub.mapping import load
from hub.mapping.compile import CompiledMapping, Needs
from hub.mapping.diff import DiffReport, MappingDiff
from hub.mapping.explain import Explainer
from hub.mapping.result import Context, Item
from hub.mapping.testing import describe
from hub.runtime.operations.operation import AnyOperation, Call, Operation, Params, Result
from hub.runtime.project import beside
from hub.runtime.settings import Role
from hub.store.engine import Store
from hub.sync.flow import Flow
from hub.sync.gather import Gatherer
from hub.sync.preview import works_of
from hub.sync.reading import Reader


class ExplainParams(Params):
    flow: str = Field(description="The flow's name.")
    record: str = Field(min_length=1, description="The source record's id.")


class DiffParams(Params):
    flow: str = Field(description="The flow whose source is read.")
    old: str = Field(description="The mapping as it is: the file's text.")
    new: str = Field(description="The mapping as it would be: the file's text.")
    old_file: str = Field(default="old.yaml", description="What to call the first in messages.")
    new_file: str = Field(default="new.yaml", description="What to call the second in messages.")
    sample: int = Field(default=500, ge=1, le=100_000, description="How many records to try at most.")


class Step(Result):
    """One target field: what it reads, then each step with the value that it gave. Personal values are masked."""

    field: str
    paths: list[str]
    steps: list[tuple[str, str]]


class Explained(Result):
    """How a record comes about, and what becomes of it in one sentence."""

    record: str
    outcome: str
    fields: list[Step]


class Difference(Result):
    """How a record would fare otherwise. Personal values are masked."""

    id: str
    title: str | None
    before: str
    after: str
    changes: list[dict[str, Any]]


class Differences(Result):
    looked_at: int
    same: int
    fields: dict[str, int]
    records: list[Difference]
    failures: int


_SHOWN = 200


async def _explain(call: Call, params: ExplainParams) -> Explained:
    flow = (await call.hub.working(params.flow)).flow(params.flow)
    store = call.hub.store
    items = await _fetched(store, flow, [params.record])
    if not items:
        raise NotFound(f"{flow.source.name} has no {flow.source_schema.name} {params.record}.")
    context, _ = await Gatherer(store, flow).context(items)
    explainer = Explainer(
        flow.mapping.spec,
        source=flow.source_schema,
        target=flow.target_schema,
        related=flow.related_schemas,
        read_file=beside(call.hub.config.flow(params.flow).mapping_file),
    )
    found = explainer.explain(items[0], context)
    return Explained(
        record=params.record,
        outcome=describe(found.result),
        fields=[Step(field=one.field, paths=list(one.paths), steps=one.steps) for one in found.stories],
    )


async def _diff(call: Call, params: DiffParams) -> Differences:
    engine = await call.hub.working(params.flow)
    flow, store = engine.flow(params.flow), call.hub.store
    names = call.hub.config.names
    old = load.load(params.old, params.old_file, names=names)
    new = load.load(params.new, params.new_file, names=names)
    schemas = {
        (flow.source.name, flow.source_schema.name): flow.source_schema,
        (flow.target.name, flow.target_schema.name): flow.target_schema,
    }
    for spec in (old, new):
        for relation in spec.related.values():
            schemas[spec.source.system, relation.object] = await call.hub.project.schema(
                spec.source.system, relation.object
            )
    read_file = beside(call.hub.config.flow(params.flow).mapping_file)
    both = MappingDiff(old, new, schemas, read_file=read_file)
    reader = replace(flow, mapping=_reads_all(both.old, both.new))
    report = DiffReport()
    async for seen in Reader(store, reader).scan():
        works = await works_of(store, reader, [one for one in seen if one.payload is not None])
        items = (await Gatherer(store, reader).items(works))[: params.sample - report.looked_at]
        both.run(items, await _context(store, flow, both, items), report)
        call.progress("comparing", report.looked_at, params.sample)
        if report.looked_at >= params.sample:
            break
    return Differences(
        looked_at=report.looked_at,
        same=report.same,
        fields=dict(report.fields.most_common()),
        failures=len(report.failures),
        records=[
            Difference(
                id=one.id,
                title=one.title,
                before=one.before,
                after=one.after,
                changes=[asdict(change) for change in one.changes],
            )
            for one in report.records[:_SHOWN]
        ],
    )


async def _fetched(store: Store, flow: Flow, ids: list[str]) -> list[Item]:
    seen = [one for one in await Reader(store, flow).fetch(ids) if one.payload is not None]
    return await Gatherer(store, flow).items(await works_of(store, flow, seen))


async def _context(store: Store, flow: Flow, both: MappingDiff, items: list[Item]) -> Context:
    """What either version looks for."""
    old, _ = await Gatherer(store, replace(flow, mapping=both.old)).context(items)
    new, _ = await Gatherer(store, replace(flow, mapping=both.new)).context(items)
    tables = {name: {**old.tables.get(name, {}), **new.tables.get(name, {})} for name in {*old.tables, *new.tables}}
    return replace(new, refs={**old.refs, **new.refs}, tables=tables)


def _reads_all(old: CompiledMapping, new: CompiledMapping) -> CompiledMapping:
    """The new mapping, asking for every field and for the relations of both versions."""
    relations = {one.name: replace(one, fields=None) for one in (*old.needs.related, *new.needs.related)}
    return replace(new, needs=Needs(None, tuple(relations.values()), old.needs.params | new.needs.params))


OPERATIONS: list[AnyOperation] = [
    Operation(
        "mapping.explain",
        "How a record comes about, field by field.",
        ExplainParams,
        Explained,
        Role.ENGINEER,
        _explain,
    ),
    Operation(
        "mapping.diff",
        "What an edited mapping would change in real records.",
        DiffParams,
        Differences,
        Role.ENGINEER,
        _diff,
        acts=True,
        long=True,
    ),
]
