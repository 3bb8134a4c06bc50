"""`hub flows`: which there are, when they run, pause and resume."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import output
from hub.cli.session import Json, Why, operate

app = typer.Typer(help="Flows and their schedules: list, pause, resume.", no_args_is_help=True)

FlowName = Annotated[str, typer.Argument(help="The flow's name, as in hub.yaml.")]


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the flows: from where to where, when they run next, whether they are paused."""
    found = operate(context, "flows.list")
    if as_json:
        output.print_json(found)
        return
    columns = {
        "name": "Flow",
        "route": "From → to",
        "schedule": "Schedule",
        "next_due": "Next",
        "state": "State",
        "reason": "Why",
    }
    rows = [
        {**item, "route": f"{item['source']} → {item['target']}", "state": "paused" if item["paused"] else "active"}
        for item in found["items"]
    ]
    output.table(rows, columns, empty="hub.yaml has no flows.")


@app.command("pause", epilog='[bold]Example[/bold]\n\nhub flows pause orders-to-erp --why "month-end close"')
def pause(context: typer.Context, flow: FlowName, why: Why = None, as_json: Json = False) -> None:
    """Stop reading and delivering a flow. Webhooks are still taken in, and nothing is lost."""
    found = operate(context, "flows.pause", flow=flow, why=why)
    output.print_json(found) if as_json else output.good(f"{flow} is paused.")


@app.command("resume")
def resume(context: typer.Context, flow: FlowName, why: Why = None, as_json: Json = False) -> None:
    """Let a flow go on where it stopped."""
    found = operate(context, "flows.resume", flow=flow, why=why)
    output.print_json(found) if as_json else output.good(f"{flow} goes on.")
