"""Pydantic models over YAML that knows its places: every problem with line, column and the nearest right name."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from hub.domain.errors import Problem
from hub.mapping.document import Node, Step
from hub.mapping.reader import nearest
from hub.runtime.secrets import Secrets

# A validator that says `must start with https://` leaves the subject to us.
_PREDICATES = ("is ", "must ", "has ", "holds ", "needs ", "can't ", "may ")

M = TypeVar("M", bound=BaseModel)

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a map",
    "list": "a list",
    "model": "a map",
    "url": "an address such as https://example.com",
}


def validate(model: type[M], node: Node, secrets: Secrets, problems: list[Problem], what: str) -> M | None:
    """`node` as `model`; None if it is not one, with the reasons in `problems`. `what` names it for messages."""
    if node.map is None:
        if node.value is None:
            node = Node({}, node.place)
        else:
            problems.append(Problem(f"{what} has to be a map, not {node.kind}.", node.place, rule="type"))
            return None
    wrong = unknown_keys(model, node, problems, what)
    _literal_secrets(model, node, secrets, problems)
    plain = node.plain()
    for path in wrong:
        _drop(plain, path)
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=True):
            problem = _problem(model, node, detail, secrets, what)
            if problem is not None:
                problems.append(problem)
        return None


def unknown_keys(
    model: type[BaseModel], node: Node, problems: list[Problem], what: str, path: tuple[Step, ...] = ()
) -> list[tuple[Step, ...]]:
    """Paths of keys that `model` does not have, reported with the nearest that it has; models inside included."""
    found: list[tuple[Step, ...]] = []
    fields = _fields(model)
    for key, below in (node.map or {}).items():
        if key not in fields:
            problems.append(
                Problem(
                    f"{what} has no `{key}`.",
                    node.keys.get(key, below.place),
                    hint=nearest(key, fields),
                    rule="unknown",
                )
            )
            found.append((*path, key))
            continue
        inner = _model_in(fields[key].annotation)
        if inner is None:
            continue
        if below.map is not None:
            found += unknown_keys(inner, below, problems, f"`{key}`", (*path, key))
        for index, item in enumerate(below.list or ()):
            found += unknown_keys(inner, item, problems, f"`{key}`", (*path, key, index))
    return found


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The one model that an annotation speaks of: itself, optional, or in a list. Unions of models have none."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    if typing.get_origin(annotation) is dict:
        return None
    inner = [found for part in typing.get_args(annotation) if (found := _model_in(part)) is not None]
    return inner[0] if len(inner) == 1 else None


def _literal_secrets(model: type[BaseModel], node: Node, secrets: Secrets, problems: list[Problem]) -> None:
    for key, field in _fields(model).items():
        below = node.at(key)
        if below is None:
            continue
        inner = _model_in(field.annotation)
        for item in (below, *(below.list or ())):
            if inner is not None and item.map is not None:
                _literal_secrets(inner, item, secrets, problems)
        if _is_secret(field.annotation) and isinstance(below.value, str):
            untouched = below.place not in secrets.filled | secrets.missing
            if untouched and not below.value.startswith("sqlite:"):
                hint = f"write `{key}: ${{env:NAME}}` and put the secret into .env, which is never committed"
                message = f"The secret `{key}` stands here in clear text."
                problems.append(Problem(message, below.place, hint=hint, rule="literal-secret", warning=True))


def _is_secret(annotation: Any) -> bool:
    if annotation in (SecretStr, SecretBytes):
        return True
    return any(_is_secret(part) for part in typing.get_args(annotation))


def _problem(model: type[BaseModel], node: Node, detail: ErrorDetails, secrets: Secrets, what: str) -> Problem | None:
    path = _path(node, detail["loc"])
    place = node.place_at(*path)
    below = node.at(*path)
    if below is not None and below.place in secrets.missing:
        return None  # its absence is reported already
    value_place = below.place if below is not None and path else place
    name = next((str(step) for step in reversed(path) if isinstance(step, str)), None)
    context: Mapping[str, Any] = detail.get("ctx") or {}
    kind = detail["type"]
    if kind == "missing":
        missing = detail["loc"][-1]
        inside = f"`{name}`" if name and name != missing else what
        field = model.model_fields.get(str(missing))
        return Problem(f"{inside} needs `{missing}`.", place, hint=field.description if field else None, rule="missing")
    where = f"`{name}`" if name else what
    if kind in ("literal_error", "enum"):
        known = [item.strip(" '\"") for item in str(context.get("expected", "")).replace(" or ", ", ").split(",")]
        given = below.value if below is not None else None
        hint = nearest(str(given), known) or f"there is {', '.join(known)}"
        return Problem(f"{where} can't be `{given}`.", value_place, hint=hint, rule="value")
    if kind in ("value_error", "assertion_error"):
        message = str(context.get("error", detail["msg"]))
        join = " " if message.startswith(_PREDICATES) else ": "
        return Problem(f"{where}{join}{message}." if path else f"{_upper(message)}.", value_place, rule="value")
    wanted = next((text for start, text in _KINDS.items() if kind.startswith(start)), None)
    if wanted and kind.endswith(("_type", "_parsing", "_from_float")):
        given_kind = below.kind if below is not None else "nothing"
        return Problem(f"{where} has to be {wanted}, not {given_kind}.", value_place, rule="type")
    return Problem(f"{where}: {_lower(detail['msg'])}.", value_place, rule="value")


def _path(node: Node, loc: Iterable[int | str]) -> tuple[Step, ...]:
    """The part of a pydantic location that is in the file (it also names union members and the like)."""
    path: list[Step] = []
    here: Node | None = node
    for step in loc:
        below = here.at(step) if here is not None else None
        if below is None:
            continue
        path.append(step)
        here = below
    return tuple(path)


def _drop(plain: Any, path: tuple[Step, ...]) -> None:
    for step in path[:-1]:
        plain = plain[step]
    plain.pop(path[-1], None)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
