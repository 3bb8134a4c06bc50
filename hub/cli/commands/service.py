"""`hub run`: the hub at work, and `hub demo`: the whole of it on a desk."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import output
from hub.cli.session import Json, Session, run, session

_RUN = """
[bold]Examples[/bold]

hub run                     until Ctrl-C

hub run --json              one JSON line when it is ready, for whoever starts it
"""


def add_to(app: typer.Typer) -> None:
    app.command("run", epilog=_RUN)(run_hub)
    app.command("demo", epilog="[bold]Example[/bold]\n\nhub demo --keep")(demo)


def run_hub(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(help="Listen on this port instead of hub.yaml's; 0 takes a free one.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the hub: schedules, deliveries, webhooks and API in one process. SIGTERM or Ctrl-C stops it without loss."""
    run(_serve(session(context), port, as_json))


async def _serve(chosen: Session, port: int | None, as_json: bool) -> None:
    from hub.api.serving import app_of
    from hub.runtime.hub import Hub
    from hub.runtime.service import Service

    if not chosen.verbose:
        logging.getLogger("hub").setLevel(logging.INFO)
    config = chosen.config()
    async with Hub.open(config, installed=chosen.installed()) as hub:
        service = Service(hub)
        async with service.running(app_of, port=port) as ready:
            if as_json:
                output.print_json({"ready": True, "api": ready.api, "hooks": ready.hooks})
            else:
                _welcome(ready, list(config.flows))
            await service.until_told()
    if not as_json:
        output.say("Stopped; nothing is lost.", "dim")


def _welcome(ready: Any, flows: list[str]) -> None:
    output.good(f"The hub runs: {output.counted(len(flows), 'flow')}.")
    output.details(
        {
            "API": f"{ready.api}/docs",
            **{f"webhooks of {name}": url for name, url in ready.hooks.items()},
            "stop": "Ctrl-C",
        }
    )
    sys.stdout.flush()


def demo(
    seed: Annotated[int, typer.Option(help="Another seed, other names, amounts, orders of events and faults.")] = 1,
    records: Annotated[int, typer.Option(help="How many records a flow.", min=20, max=100_000)] = 300,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, to play with.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where to make the project; else a temporary folder, with --keep ./hub-demo.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the whole business case against simulators, with faults, and check it against ground truth."""
    from hub.cli.demo.main import run as play

    code = play(seed=seed, records=records, folder=folder, keep=keep, as_json=as_json)
    if code:
        raise typer.Exit(code)
