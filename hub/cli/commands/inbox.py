"""`hub inbox`: webhooks as they arrived."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import output
from hub.cli.session import Json, Why, operate

app = typer.Typer(help="Webhooks as they arrived: look, take up again.", no_args_is_help=True)

System = Annotated[str | None, typer.Option("--system", help="Only this system.", show_default=False)]
State = Annotated[
    str | None, typer.Option("--state", "-s", help="Only this state: new, handled, failed.", show_default=False)
]


@app.command("list", epilog="[bold]Example[/bold]\n\nhub inbox list --system crm --state new")
def list_(
    context: typer.Context,
    system: System = None,
    state: State = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """List webhooks, newest first."""
    found = operate(context, "inbox.list", system=system, state=state, limit=limit)
    if as_json:
        output.print_json(found)
        return
    columns = {
        "id": "Id",
        "received": "Received",
        "system": "System",
        "state": "State",
        "copies": "Copies",
        "what": "Tells of",
        "error": "Error",
    }
    rows = [
        {**item, "what": ", ".join(f"{one['object']} {one['id']}" for one in item["events"])} for item in found["items"]
    ]
    output.table(rows, columns, right=["copies"], empty="No webhook is like that.")


@app.command("show")
def show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The webhook's id.")],
    as_json: Json = False,
) -> None:
    """Show one webhook: what it told of and how it came in. Its body is not shown: it may be secret."""
    found = operate(context, "inbox.show", id=id)
    if as_json:
        output.print_json(found)
        return
    shown = {name: found[name] for name in ("system", "state", "received", "copies", "handled", "error", "dedupe")}
    output.details({**shown, "body": f"{found['body_bytes']:,} bytes"}, title=f"Webhook {found['id']}")
    output.table(found["events"], {"object": "Object", "id": "Id", "kind": "Kind"}, title="Tells of")


@app.command("replay", epilog="[bold]Example[/bold]\n\nhub inbox replay --system crm --since 2h")
def replay(
    context: typer.Context,
    id: Annotated[str | None, typer.Option("--id", help="Only this webhook.", show_default=False)] = None,
    system: System = None,
    state: State = None,
    since: Annotated[
        str | None, typer.Option(help="Received since 2h or 3d ago, or a date.", show_default=False)
    ] = None,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Take webhooks up again: what they told of is fetched anew. An empty filter is refused."""
    found = operate(context, "inbox.replay", id=id, system=system, state=state, since=since, why=why)
    if as_json:
        output.print_json(found)
    else:
        output.good(f"{output.counted(found['count'], 'webhook')} taken up again.")
