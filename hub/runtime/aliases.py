"""`names:` of hub.yaml: what mappings call a tenant's generated fields and templates."""

from __future__ import annotations

from collections.abc import Container

from hub.domain.errors import Place, Problem
from hub.mapping.document import Node
from hub.mapping.names import Alias, Names
from hub.mapping.reader import nearest


def read_names(node: Node | None, systems: Node | None, problems: list[Problem]) -> Names:
    """The aliases of `names:`; a member that is text holds everywhere, a map under a system's name for that system, a
    map in it under an object's name for that object alone. What is wrong is added to `problems`.
    """
    if node is None or node.value is None:
        return Names()
    if node.map is None:
        problems.append(Problem(f"`names` has to be a map, not {node.kind}.", node.place, rule="type"))
        return Names()
    known = systems.map or {} if systems is not None else {}
    everywhere: dict[str, Alias] = {}
    of_systems: dict[str, dict[str, Alias]] = {}
    of_objects: dict[tuple[str, str], dict[str, Alias]] = {}
    for name, below in node.map.items():
        place = node.keys[name]
        if below.map is None:
            _add(everywhere, name, below, place, problems)
        elif name not in known:
            message = f"`names` speaks of `{name}`, and `systems:` has no such system."
            problems.append(Problem(message, place, hint=nearest(name, known), rule="names"))
        else:
            of_systems[name] = {}
            _of_system(name, below, of_systems[name], of_objects, problems)
    return Names(everywhere, of_systems, of_objects)


def _of_system(
    system: str,
    node: Node,
    aliases: dict[str, Alias],
    objects: dict[tuple[str, str], dict[str, Alias]],
    problems: list[Problem],
) -> None:
    for name, below in (node.map or {}).items():
        if below.map is None:
            _add(aliases, name, below, node.keys[name], problems)
            continue
        found = objects.setdefault((system, name), {})
        for inner, value in below.map.items():
            _add(found, inner, value, below.keys[inner], problems)


def _add(found: dict[str, Alias], name: str, node: Node, place: Place, problems: list[Problem]) -> None:
    if isinstance(node.value, str) and node.value:
        found[name] = Alias(name, node.value, place)
    else:
        message = f"`{name}` has to be the name that the system uses, and is {node.kind}."
        problems.append(Problem(message, node.place, hint="for example `tax_no: field_8weB5__c`", rule="names"))


def unused(names: Names, used: Container[Alias]) -> list[Problem]:
    """A warning for each alias that no mapping uses."""
    return [
        Problem(f"The name {alias.name} ({alias.real}) is used by no mapping", alias.place, rule="unused", warning=True)
        for alias in names
        if alias not in used
    ]
