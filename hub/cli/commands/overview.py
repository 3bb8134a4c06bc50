"""`hub status`, `hub runs`, `hub why`: where things stand."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from hub.cli import output
from hub.cli.session import Json, operate

_STATES = ("pending", "working", "doubt", "waiting", "blocked", "held", "dead", "done", "unchanged", "filtered")


def add_to(app: typer.Typer) -> None:
    app.command("status", epilog="[bold]Example[/bold]\n\nhub status --json")(status)
    app.command("runs", epilog="[bold]Example[/bold]\n\nhub runs --flow products --limit 5")(runs)
    app.command("why", epilog="[bold]Example[/bold]\n\nhub why SO-20260106-01")(why)


def status(context: typer.Context, as_json: Json = False) -> None:
    """Where every flow stands: what is owed, what waits and why, when it runs next."""
    found = operate(context, "status")
    if as_json:
        output.print_json(found)
        return
    flows = found["flows"]
    shown = [state for state in _STATES if any(flow["states"].get(state) for flow in flows)]
    columns = {"name": "Flow", "state": "State", "next_due": "Next read", "last_run": "Last read"}
    columns |= {state: state for state in shown}
    rows = [
        {
            **flow,
            "state": "paused" if flow["paused"] else "active",
            **{state: f"{flow['states'][state]:,}" if flow["states"].get(state) else None for state in shown},
        }
        for flow in flows
    ]
    output.table(rows, columns, right=shown, empty="hub.yaml has no flows.")
    if found["reasons"]:
        columns = {"flow": "Flow", "state": "State", "reason": "Reason", "count": "How many", "since": "Oldest since"}
        output.table(found["reasons"], columns, title="What rests, and why", right=["count"])
    _systems(found["systems"])
    _beside(found)


def _systems(systems: list[dict[str, Any]]) -> None:
    """What stands in the way of calls, and what is left of quotas; nothing where there is neither."""
    for system in systems:
        if system["state"] != "ok":
            output.warn(system["reason"], f"since {system['since']}; deliveries wait, and go on by themselves")
        for quota in system["quotas"]:
            kept = f", {quota['kept']:,} kept for people" if quota["kept"] else ""
            output.say(
                f"{system['name']}: {quota['name']}: {quota['used']:,} of {quota['amount']:,}{kept}; "
                f"anew at {quota['resets']}",
                "dim",
            )


def _beside(found: dict[str, Any]) -> None:
    hooks = found["inbox"]
    told = ", ".join(f"{count:,} {state}" for state, count in hooks.items()) or "none yet"
    output.say(f"Webhooks: {told}. Hints to fetch: {found['hints']:,}. Identities: {found['identities']:,}.", "dim")
    _processes(found)
    if found["needs_person"]:
        output.warn(
            f"{output.counted(found['needs_person'], 'delivery needs', 'deliveries need')} a person.",
            "`hub deliveries list --state held` and `--state dead` show them",
        )


def _processes(found: dict[str, Any]) -> None:
    if not found["running"]:
        output.warn("No hub is running on this store.", "`hub run` starts it")
    elif len(found["processes"]) > 1:
        columns = {"role": "Role", "host": "Host", "pid": "Process", "started": "Since", "life": "Last sign of life"}
        lives = [
            {**one, "life": one["beat"] if one["alive"] else f"{one['beat']} (dead)"} for one in found["processes"]
        ]
        output.table(lives, columns, title="Processes")
    alive = {one["role"] for one in found["processes"] if one["alive"]}
    if alive and not alive & {"all", "worker"}:
        output.warn("No worker is at work: nothing is read or delivered.", "`hub run --role worker` starts one")


def runs(
    context: typer.Context,
    flow: Annotated[str | None, typer.Option("--flow", "-f", help="Only this flow.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=500)] = 20,
    as_json: Json = False,
) -> None:
    """List the runs of flows' reading sides, newest first."""
    found = operate(context, "runs.list", flow=flow, limit=limit)
    if as_json:
        output.print_json(found)
        return
    columns = {
        "started": "Started",
        "flow": "Flow",
        "kind": "Kind",
        "cause": "Cause",
        "state": "State",
        "counts": "Books",
        "error": "Error",
    }
    output.table(found["items"], columns, empty="Nothing has run yet.")


def why(
    context: typer.Context,
    number: Annotated[
        str, typer.Argument(help="What you know of it: an order number, a record's id, a delivery's id.")
    ],
    as_json: Json = False,
) -> None:
    """Why is it not there? From a number down the chain to the root cause, and what mends it."""
    found = operate(context, "why", text=number)
    if as_json:
        output.print_json(found)
        return
    for link in found["links"]:
        tree = Tree(_head(link))
        _grow(tree, link)
        output.out().print(tree)


def _head(link: dict[str, Any]) -> Text:
    name = link["title"] or link["source_id"] or "something"
    style = output.STATE_STYLES.get(link["state"], "bold red")
    return Text(f"{name} ", style="bold") + Text(link["state"], style=style) + Text(f"  {link['flow']}", style="dim")


def _grow(tree: Tree, link: dict[str, Any]) -> None:
    tree.add(Text(link["cause"]))
    if link["fix"]:
        tree.add(Text(f"→ {link['fix']}", style="yellow"))
    for cause in link["because"]:
        _grow(tree.add(_head(cause)), cause)
