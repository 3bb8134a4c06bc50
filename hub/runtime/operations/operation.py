"""What an operation is: a name, parameters, a role and a function, the same for the command line and the API."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.connector.turns import for_person
from hub.domain.errors import InvalidInput, NotFound, Problem
from hub.mapping.reader import nearest
from hub.runtime.settings import Role

if TYPE_CHECKING:
    from hub.runtime.hub import Hub

Progress = Callable[[str, int, "int | None"], None]
"""Tells how far long work is: what is being done, how many are done, of how many (None: not known)."""


class Params(BaseModel):
    """Parameters of an operation. Nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid")


class Act(Params):
    """Parameters of an operation that changes something; the reason stands in the audit log."""

    why: str | None = Field(default=None, max_length=500, description="The reason, for the audit log.")


class Result(BaseModel):
    """What an operation answers: JSON, with times in ISO 8601 (UTC)."""

    model_config = ConfigDict(extra="forbid")


P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=BaseModel)


def silent(what: str, done: int, total: int | None) -> None:
    """The progress of who does not watch."""


@dataclass(frozen=True, slots=True)
class Call:
    """One use of an operation: on which hub, by whom, and who watches."""

    hub: Hub
    who: str
    progress: Progress = silent


@dataclass(frozen=True, slots=True)
class Operation(Generic[P, R]):
    """A thing that people and outside systems can ask of the hub.

    `acts`: it changes something, so it is audited and never done by a GET. `long`: it may take minutes.
    """

    name: str
    help: str
    params: type[P]
    result: type[R]
    role: Role
    run: Callable[[Call, P], Awaitable[R]] = field(repr=False)
    acts: bool = False
    long: bool = False

    @property
    def path(self) -> str:
        """Its place in the API: `deliveries.list` is `/deliveries/list`."""
        return "/" + self.name.replace(".", "/")


AnyOperation = Operation[Any, Any]


class OperationTable:
    """All operations by name."""

    def __init__(self, operations: Iterable[AnyOperation]) -> None:
        self._by_name = {operation.name: operation for operation in operations}

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> AnyOperation:
        """Raises NotFound with the nearest name."""
        if name not in self._by_name:
            raise NotFound(f"There is no operation `{name}`.", hint=nearest(name, self._by_name))
        return self._by_name[name]


def read_params(operation: AnyOperation, given: dict[str, Any]) -> Params:
    """`given` as the operation's parameters. Raises InvalidInput with all that is wrong."""
    try:
        params: Params = operation.params.model_validate(given)
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False, include_input=False):
            name = ".".join(str(step) for step in detail["loc"])
            message = detail["msg"].removeprefix("Value error, ")
            known = nearest(name, operation.params.model_fields) if detail["type"] == "extra_forbidden" else None
            problems.append(Problem(f"`{name}`: {message}" if name else message, hint=known, rule=detail["type"]))
        raise InvalidInput(f"`{operation.name}` can't be done with these parameters.", problems) from error
    return params


async def perform(operation: AnyOperation, call: Call, params: Params) -> BaseModel:
    """Do it; what changes something is noted in the audit log before it begins, so that no act goes unseen.

    A person waits for the answer of what is short, so its calls go first and may use what flows leave of a quota;
    what is long (a whole flow, say) goes with the flows.
    """
    if operation.acts:
        detail = params.model_dump(mode="json", exclude_none=True, exclude={"why"})
        subject = next((str(detail[key]) for key in ("flow", "id", "entity", "table") if detail.get(key)), "")
        await call.hub.note(call.who, operation.name, subject, detail, getattr(params, "why", None))
    with contextlib.nullcontext() if operation.long else for_person():
        result: BaseModel = await operation.run(call, params)
    return result
