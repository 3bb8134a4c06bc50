"""`hub store`: the hub's own database, and the schema in it."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import output
from hub.cli.session import Json, run, session

app = typer.Typer(help="The hub's own database.", no_args_is_help=True)

_UPGRADE = """
[bold]A fleet, without a stop[/bold]

hub store upgrade --pre     with the new release, while the old one works: only adds
(then bring the processes to the new release, one after the other)
hub store upgrade           when the last old process has gone: takes away what nobody uses any more
"""


@app.command("upgrade", epilog=_UPGRADE)
def upgrade(
    context: typer.Context,
    pre: Annotated[bool, typer.Option("--pre", help="Only what code of the release before can live with.")] = False,
    as_json: Json = False,
) -> None:
    """Bring the store's schema to this release's. Refused while processes of an older release use what would go."""
    from hub.store.engine import Store
    from hub.store.upgrade.history import Step

    config = session(context).config()
    done = run(Store.upgrade_at(config.store_url, Step.PRE if pre else Step.POST))
    if as_json:
        output.print_json({"schema": done.schema, "applied": done.applied, "waiting": done.waiting})
        return
    if done.applied:
        output.good(f"The store has schema {done.schema} now (applied: {', '.join(done.applied)}).")
    else:
        output.good(f"The store has schema {done.schema}; nothing had to be done.")
    if done.waiting:
        waiting = ", ".join(done.waiting)
        output.say(f"{waiting} waits: run `hub store upgrade` when no process of an older release is at work.", "dim")
