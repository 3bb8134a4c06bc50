"""`hub deliveries`: what flows owe their targets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hub.cli import output
from hub.cli.session import Json, Why, operate

app = typer.Typer(help="What flows owe their targets: look, try again, put to rest, hold.", no_args_is_help=True)

Flow = Annotated[str | None, typer.Option("--flow", "-f", help="Only this flow.", show_default=False)]
State = Annotated[
    str | None,
    typer.Option(
        "--state", "-s", help="Only this state: pending, waiting, blocked, held, dead, ...", show_default=False
    ),
]
Reason = Annotated[str | None, typer.Option("--reason", help="Only this reason.", show_default=False)]
Title = Annotated[
    str | None, typer.Option("--title", help="Only titles that begin so (an order number).", show_default=False)
]
Source = Annotated[
    str | None, typer.Option("--record", help="Only this record, by its id in the source.", show_default=False)
]
Ident = Annotated[str | None, typer.Option("--id", help="Only this delivery.", show_default=False)]

_MOVE_EXAMPLES = """
[bold]Examples[/bold]

hub deliveries {0} --id 1862736427643

hub deliveries {0} --flow orders-to-erp --state dead

hub deliveries {0} --state held --reason several --why "agreed with finance"
"""

COLUMNS = {"id": "Id", "flow": "Flow", "title": "Title", "state": "State", "since": "Since", "why": "Why"}


@app.command("list", epilog="[bold]Example[/bold]\n\nhub deliveries list --state dead --flow orders-to-erp")
def list_(
    context: typer.Context,
    flow: Flow = None,
    state: State = None,
    reason: Reason = None,
    title: Title = None,
    record: Source = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """List deliveries, what moved last first."""
    found = operate(
        context, "deliveries.list", flow=flow, state=state, reason=reason, title=title, source_id=record, limit=limit
    )
    if as_json:
        output.print_json(found)
        return
    rows = [{**item, "title": item["title"] or item["source_id"], "why": _why(item)} for item in found["items"]]
    output.table(rows, COLUMNS, empty="No delivery is like that.")
    if found["total"] > len(rows):
        output.say(f"{len(rows)} of {found['total']:,}; --limit shows more.", "dim")


@app.command("show", epilog="[bold]Example[/bold]\n\nhub deliveries show 1862736427643")
def show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The delivery's id.")],
    as_json: Json = False,
) -> None:
    """Show one delivery whole: where it stands and why, what it carries, every attempt. Personal values are masked."""
    found = operate(context, "deliveries.show", id=id)
    if as_json:
        output.print_json(found)
        return
    output.details(
        {
            "flow": found["flow"],
            "record": found["source_id"],
            "title": found["title"],
            "state": found["state"],
            "since": found["since"],
            "reason": found["reason"],
            "message": found["message"],
            "due": found["due"],
            "captured": f"{output.local_time(found['captured'] or '')} (revision {found['revision']})",
            "delivered": f"revision {found['delivered_revision']}" if found["delivered_revision"] else None,
            "entity": found["entity"],
        },
        title=f"Delivery {found['id']}",
    )
    if found["payload"]:
        output.say("\nRecord", "bold")
        output.details(found["payload"].get("record", {}))
        for name, rows in (found["payload"].get("related") or {}).items():
            output.say(f"\n{name} ({len(rows)})", "bold")
            for row in rows:
                output.details(row)
    if found["attempts_made"]:
        output.say("")
        columns = {"at": "At", "op": "Did", "outcome": "Outcome", "target_id": "Target", "message": "Message"}
        output.table(found["attempts_made"], columns, title="Attempts")
    output.say(f"\n`hub why {found['title'] or found['source_id']}` follows the chain to its cause.", "dim")


def _why(item: dict[str, Any]) -> str:
    return item["message"] or item["reason"] or ""


def _mover(verb: str, done: str, help: str) -> None:
    @app.command(verb, epilog=_MOVE_EXAMPLES.format(verb), help=help)
    def move(
        context: typer.Context,
        flow: Flow = None,
        state: State = None,
        reason: Reason = None,
        title: Title = None,
        record: Source = None,
        id: Ident = None,
        why: Why = None,
        as_json: Json = False,
    ) -> None:
        found = operate(
            context,
            f"deliveries.{verb}",
            flow=flow,
            state=state,
            reason=reason,
            title=title,
            source_id=record,
            id=id,
            why=why,
        )
        if as_json:
            output.print_json(found)
        elif found["count"]:
            output.good(f"{output.counted(found['count'], 'delivery', 'deliveries')} {done}.")
        else:
            output.warn(
                "No delivery is like that, or those that are can't be moved now.", "`hub deliveries list` shows them"
            )


_mover("retry", "made due", "Try deliveries again now. What goes out is the latest capture, never an older one.")
_mover("skip", "put to rest", "Put deliveries to rest until their source changes again.")
_mover("hold", "held", "Keep deliveries until a person decides.")
