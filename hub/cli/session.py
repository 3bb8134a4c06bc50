"""What every command stands on: its project, and a way to have an operation done, here or by the hub that runs."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from hub.runtime.config import Config
    from hub.runtime.connectors import Installed

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Why = Annotated[str | None, typer.Option("--why", help="The reason, for the audit log.", show_default=False)]


@dataclass(slots=True)
class Session:
    """The global options of one command."""

    project: Path | None = None
    verbose: bool = False

    def installed(self) -> Installed:
        from hub.runtime.connectors import Installed

        return Installed.here()

    def config(self) -> Config:
        """The project's configuration. Raises NotFound, InvalidInput."""
        from hub.runtime.config import find, load

        return load(find(self.project), self.installed())


def session(context: typer.Context) -> Session:
    found = context.find_object(Session)
    return found if found is not None else Session()


def who() -> str:
    """The person at the keyboard, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:uid {os.getuid()}"


def operate(context: typer.Context, name: str, *, quiet: bool = False, **params: Any) -> Any:
    """Have the operation `name` done and return its result as JSON; parameters that are None are left out.

    When a `hub run` owns the store it is asked to do it; else this process opens the store for a moment.
    `quiet` leaves the progress bar out.
    """
    from hub.cli.progress import watching
    from hub.runtime.owner import owner_of

    config = session(context).config()
    given = {key: value for key, value in params.items() if value is not None}
    owner = owner_of(config)
    with watching(name, quiet=quiet) as progress:
        if owner is not None:
            from hub.cli.remote import ask

            return ask(owner, name, given, progress)
        return run(_here(config, name, given, progress))


async def _here(config: Config, name: str, given: dict[str, Any], progress: Any) -> Any:
    from hub.runtime.hub import Hub
    from hub.runtime.operations import OPERATIONS
    from hub.runtime.operations.operation import Call, perform, read_params

    operation = OPERATIONS.get(name)
    params = read_params(operation, given)
    async with Hub.open(config) as hub:
        result = await perform(operation, Call(hub, who(), progress), params)
    return result.model_dump(mode="json")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. Ctrl-C cancels it, so that it can put back what it holds."""
    return asyncio.run(work)
