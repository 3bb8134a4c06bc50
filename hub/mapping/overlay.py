"""Lays a customer's few lines over the mapping that they extend; every node keeps the place it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.domain.errors import NotFound, Problem
from hub.mapping.document import Node, parse

MAX_LAYERS = 8

# Maps whose members are added to or replaced one by one; every other key of the overlay replaces the base's as a whole.
_MERGED = ("fields", "lookups", "let", "related", "defaults", "ensure")
_MERGED_DEEPER = ("source", "target")


def merge(
    node: Node, find: Callable[[str], tuple[str, str]] | None, problems: list[Problem], layers: int = 0
) -> Node | None:
    """`node` laid over what its `extends:` names, found by `find`; None when the base can't be read."""
    extends = node.at("extends")
    if extends is None:
        return node
    if not isinstance(extends.value, str) or find is None or layers >= MAX_LAYERS:
        reason = "No base can be found here" if find is None else "`extends` has to name one base, at most eight deep"
        problems.append(Problem(f"{reason}.", extends.place, rule="extends"))
        return None
    try:
        text, file = find(extends.value)
    except NotFound as error:
        problems.append(Problem(error.message, extends.place, hint=error.hint, rule="extends"))
        return None
    base = parse(text, file, problems)
    base = merge(base, find, problems, layers + 1) if base is not None and base.map is not None else base
    if base is None or base.map is None:
        return None
    return _over(_without(base, node, problems), node)


def _without(base: Node, overlay: Node, problems: list[Problem]) -> Node:
    """The base without the fields that the overlay removes."""
    fields = base.at("fields")
    removed = overlay.at("remove")
    if fields is None or fields.map is None or removed is None or base.map is None:
        return base
    names = {item.value for item in removed.list or () if isinstance(item.value, str)}
    problems.extend(
        Problem(f"The base has no field `{item.value}` to remove.", item.place, rule="unknown-name")
        for item in removed.list or (removed,)
        if item.value not in fields.map
    )
    kept = {name: below for name, below in fields.map.items() if name not in names}
    return Node({**base.map, "fields": Node(kept, fields.place, fields.keys)}, base.place, base.keys)


def _over(base: Node, overlay: Node) -> Node:
    members = dict(base.map or {})
    for key, value in (overlay.map or {}).items():
        below = members.get(key)
        if key == "remove":
            continue
        if below is not None and below.map is not None and value.map is not None and key in (*_MERGED, *_MERGED_DEEPER):
            members[key] = _joined(below, value)
        elif key == "tests" and below is not None and below.list is not None and value.list is not None:
            members[key] = Node((*below.list, *value.list), value.place)
        else:
            members[key] = value
    return Node(members, overlay.place, {**base.keys, **overlay.keys})


def _joined(base: Node, overlay: Node) -> Node:
    members: Mapping[str, Node] = {**(base.map or {}), **(overlay.map or {})}
    return Node(members, overlay.place, {**base.keys, **overlay.keys})
