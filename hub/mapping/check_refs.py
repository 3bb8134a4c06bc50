"""What only a whole project can tell: what an entity kind is, circles of references, owners of two-way fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hub.domain.errors import Place
from hub.domain.schema import Field, FieldType
from hub.mapping.check_scope import Known, Report, Schemas, did_you_mean
from hub.mapping.model import (
    Each,
    Expr,
    FieldRule,
    FirstOf,
    FixedRows,
    From,
    Join,
    MappingSpec,
    Path,
    Ref,
    Text,
    TextPart,
)

Side = tuple[str, str]  # (system, object)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which object each kind of entity is, system by system; from all mappings of a project.

    `project` tells that they are all there, so that a kind which nobody brings can be called out.
    """

    sides: Mapping[str, frozenset[Side]] = field(default_factory=dict)
    project: bool = False

    def in_system(self, kind: str, system: str) -> frozenset[str]:
        """The objects that this kind is in a system."""
        return frozenset(object for known, object in self.sides.get(kind, ()) if known == system)

    def check(self, mapping: MappingSpec, ref: Ref, known: Known, spec: Field | None, report: Report) -> None:
        """A reference names a kind that exists, and both its ends are of that kind."""
        if ref.kind not in self.sides:
            if self.project:
                hint = did_you_mean(ref.kind, self.sides)
                message = f"{ref.kind}: no mapping of this project is about this entity{hint}"
                report.warning(ref.place, message, "ref")
            return
        source = self.in_system(ref.kind, mapping.source.system)
        points_at = known.object if known.type is FieldType.REFERENCE else None
        if points_at is not None and source and points_at not in source:
            message = f"{known.what} refers to {points_at}, and {ref.kind} is {_and(source)} in {mapping.source.system}"
            report.error(ref.place, message + self._right(mapping.source.system, points_at), "ref")
        target = self.in_system(ref.kind, mapping.target.system)
        wants = spec.reference if spec is not None and spec.type is FieldType.REFERENCE else None
        if wants is not None and target and wants not in target and spec is not None:
            message = f"{spec.name} refers to {wants}, and {ref.kind} is {_and(target)} in {mapping.target.system}"
            report.error(ref.place, message + self._right(mapping.target.system, wants), "ref")

    def _right(self, system: str, object: str) -> str:
        for kind, sides in self.sides.items():
            if (system, object) in sides:
                return f"; did you mean ref: {kind}?"
        return ""


def kinds_of(mappings: Iterable[MappingSpec], schemas: Schemas, *, project: bool) -> Kinds:
    """The kinds that these mappings are about, their rows' kinds included."""
    sides: dict[str, set[Side]] = defaultdict(set)
    for mapping in mappings:
        sides[mapping.entity] |= {
            (mapping.source.system, mapping.source.object),
            (mapping.target.system, mapping.target.object),
        }
        for rule in mapping.fields.values():
            each = rule.rule
            if isinstance(each, Each) and each.entity:
                sides[each.entity] |= _row_sides(mapping, rule.name, each, schemas)
    return Kinds({kind: frozenset(found) for kind, found in sides.items()}, project)


def _row_sides(mapping: MappingSpec, table: str, each: Each, schemas: Schemas) -> set[Side]:
    found: set[Side] = set()
    related = mapping.related.get(each.path.related or "")
    if related is not None:
        found.add((mapping.source.system, related.object))
    target = schemas.get((mapping.target.system, mapping.target.object))
    spec = target.fields.get(table) if target else None
    if spec is not None:
        found.add((mapping.target.system, spec.row_object or table))
    return found


# ---- circles ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edge:
    start: str
    end: str
    place: Place
    field: str


def check_circles(mappings: Sequence[MappingSpec], report: Report) -> None:
    """Report each circle of references in which everybody waits for the next: no edge of it is optional.

    Customer C names contact K as its main contact, K names C as its company. Neither can be created before the other,
    so both wait for ever, unless one of the two edges may be left out at first.
    """
    edges: dict[tuple[str, str], list[_Edge]] = defaultdict(list)  # (target system, kind) -> what it needs there
    parents = {
        (mapping.target.system, each.entity): mapping.entity
        for mapping in mappings
        for _, each in tables_of(mapping)
        if each.entity
    }
    for mapping in mappings:
        if mapping.target.create == "never":
            continue
        for name, ref in _needed(mapping.fields):
            system = mapping.target.system
            end = parents.get((system, ref.kind), ref.kind)
            if end != mapping.entity:
                edges[system, mapping.entity].append(_Edge(mapping.entity, end, ref.place, name))
    for system in sorted({system for system, _ in edges}):
        needs = {kind: found for (known, kind), found in edges.items() if known == system}
        for circle in _circles(needs):
            way = ", ".join(f"{edge.start} needs {edge.end} ({edge.field}, {edge.place})" for edge in circle)
            message = f"A circle of references in {system}: {way}; make one of them `optional: true`"
            report.error(circle[0].place, message, "circle")


def _needed(rules: Mapping[str, FieldRule]) -> Iterator[tuple[str, Ref]]:
    """The references without which a record can't be created, with the target field that has them."""
    for name, rule in rules.items():
        match rule.rule:
            case Each() as each:
                yield from _needed(each.fields)
                if each.value is not None:
                    yield from ((name, ref) for ref in _needed_refs(each.value))
            case FixedRows(rows):
                for row in rows:
                    yield from _needed(row)
            case Expr() as expr:
                yield from ((name, ref) for ref in _needed_refs(expr))


def _needed_refs(expr: Expr) -> Iterator[Ref]:
    bounded = expr.ref is not None and (expr.ref.optional or expr.else_ is not None)
    if expr.on != "change" and expr.ref is not None and not bounded:
        yield expr.ref
    if isinstance(expr.origin, (FirstOf, Join)) and expr.on != "change":
        for value in expr.origin.values:
            yield from _needed_refs(value)


def _circles(needs: Mapping[str, list[_Edge]]) -> list[list[_Edge]]:
    """One shortest circle through each knot of kinds, starting at its first kind by name."""
    found: list[list[_Edge]] = []
    seen: set[str] = set()
    for start in sorted(needs):
        if start in seen:
            continue
        circle = _shortest(start, needs)
        if circle:
            seen |= {edge.start for edge in circle}
            found.append(circle)
    return found


def _shortest(start: str, needs: Mapping[str, list[_Edge]]) -> list[_Edge] | None:
    ways: list[list[_Edge]] = [[edge] for edge in needs[start]]
    visited: set[str] = set()
    for way in ways:  # grows while it is walked: breadth first
        end = way[-1].end
        if end == start:
            return way
        if end not in visited:
            visited.add(end)
            ways.extend([*way, edge] for edge in needs.get(end, ()))
    return None


# ---- owners ----------------------------------------------------------------------------------------------------------


def check_owners(mappings: Sequence[MappingSpec], report: Report) -> None:
    """A field or table that both directions of a pair map needs an owner, the same in both, one of the two systems."""
    for mapping in mappings:
        opposites = [other for other in mappings if _opposite(mapping, other)]
        for rule in mapping.fields.values():
            backs = [back for other in opposites if (back := _back(mapping, rule, other)) is not None]
            _check_owner(mapping, rule, backs, bool(opposites), report)


def _check_owner(mapping: MappingSpec, rule: FieldRule, backs: list[FieldRule], paired: bool, report: Report) -> None:
    owner = _owner(rule)
    systems = (mapping.source.system, mapping.target.system)
    choice = " or ".join(systems)
    place = rule.rule.places.get("owner", rule.place) if isinstance(rule.rule, Expr) else rule.place
    if owner is not None and owner not in systems:
        hint = did_you_mean(owner, systems)
        report.error(place, f"{rule.name}: the owner is {choice}, not {owner}{hint}", "owner")
    elif backs and owner is None:
        message = f"{rule.name}: both directions map this field ({backs[0].place}); add `owner: {choice}`"
        report.error(rule.place, message, "owner")
    elif owner is not None and paired and not backs:
        message = f"{rule.name}: nothing maps this field back; `owner:` does nothing here"
        report.warning(place, message, "owner")
    for back in backs:
        theirs = _owner(back)
        if owner in systems and theirs in systems and theirs != owner:
            message = f"{rule.name}: the owner is {owner} here, and {theirs} in the other direction ({back.place})"
            report.error(place, message, "owner")


def _owner(rule: FieldRule) -> str | None:
    return None if isinstance(rule.rule, FixedRows) else rule.rule.owner


def _opposite(mapping: MappingSpec, other: MappingSpec) -> bool:
    ours = (mapping.source.system, mapping.source.object, mapping.target.system, mapping.target.object)
    return ours == (other.target.system, other.target.object, other.source.system, other.source.object)


def _back(mapping: MappingSpec, rule: FieldRule, other: MappingSpec) -> FieldRule | None:
    """The field of `other` that reads what this one writes, and writes what this one reads."""
    for name in sorted(_read(mapping, rule)):
        back = other.fields.get(name)
        if back is not None and rule.name in _read(other, back):
            return back
    return None


def _read(mapping: MappingSpec, rule: FieldRule) -> set[str]:
    """The source's fields and tables from which a field or table is made; a detail object counts as a table."""
    match rule.rule:
        case Each(path=path):
            related = mapping.related.get(path.related or "")
            return {related.object if related is not None else path.name}
        case Expr() as expr:
            return {path.name for path in paths_of(expr) if path.root in ("scope", "record")}
        case _:
            return set()


def paths_of(expr: Expr) -> Iterator[Path]:
    """The paths at which a value starts."""
    match expr.origin:
        case From(paths):
            yield from paths
        case FirstOf(values) | Join(values, _):
            for value in values:
                yield from paths_of(value)
        case Text(parts):
            yield from (part.path for part in parts if isinstance(part, TextPart))


def tables_of(mapping: MappingSpec) -> Iterator[tuple[FieldRule, Each]]:
    """The tables that a mapping fills from source rows."""
    for rule in mapping.fields.values():
        if isinstance(rule.rule, Each):
            yield rule, rule.rule


def _and(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))
