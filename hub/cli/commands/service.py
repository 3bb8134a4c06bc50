"""`hub run`: the hub at work, and `hub demo`: the whole of it on a desk."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import output
from hub.cli.session import Json, run, session

if TYPE_CHECKING:
    from hub.runtime.config import Config
    from hub.runtime.connectors import Installed
    from hub.runtime.post import Post
    from hub.runtime.roles import Part

_RUN = """
[bold]Examples[/bold]

hub run                     until Ctrl-C

hub run --role worker       one of many, over PostgreSQL

hub run --json              one JSON line when it is ready, for whoever starts it
"""


def add_to(app: typer.Typer) -> None:
    app.command("run", epilog=_RUN)(run_hub)
    app.command("demo", epilog="[bold]Example[/bold]\n\nhub demo --keep")(demo)


def run_hub(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            help="Listen on this port instead of hub.yaml's; 0 takes a free one.", min=0, max=65535, show_default=False
        ),
    ] = None,
    role: Annotated[
        str, typer.Option(help="all, scheduler, worker or ingress; parts of a fleet over PostgreSQL.")
    ] = "all",
    as_json: Json = False,
) -> None:
    """Run the hub, or one part of a fleet of it. SIGTERM or Ctrl-C stops it without loss."""
    from hub.runtime.roles import part_named, refuse_unless_possible

    chosen = session(context)
    part = part_named(role)
    config = chosen.config()
    refuse_unless_possible(config, part, port=port)
    if not chosen.verbose:
        logging.getLogger("hub").setLevel(logging.INFO)
    if part.listens or part.schedules or config.fleet.broker is None:
        run(_serve(config, chosen.installed(), part, port, as_json))
    else:
        from hub.runtime.celery_app import run_worker

        run_worker(config, lambda: _ready(part, "", {}, config, as_json))
    if not as_json:
        output.say("Stopped; nothing is lost.", "dim")


async def _serve(config: Config, installed: Installed, part: Part, port: int | None, as_json: bool) -> None:
    from hub.api.serving import app_of
    from hub.runtime.hub import Hub
    from hub.runtime.service import Service

    async with Hub.open(config, installed=installed) as hub:
        service = Service(hub, part, _post(config))
        async with service.running(app_of, port=port) as ready:
            _ready(part, ready.api, ready.hooks, config, as_json)
            await service.until_told()


def _post(config: Config) -> Post | None:
    """What carries signals to the other processes, if there can be any."""
    if config.fleet.broker is None or config.store_file is not None:
        return None
    from hub.runtime.celery_app import carrier_app, post

    return post(carrier_app(config))


def _ready(part: Part, api: str, hooks: dict[str, str], config: Config, as_json: bool) -> None:
    if as_json:
        output.print_json({"ready": True, "role": part.value, "api": api, "hooks": hooks})
    else:
        what = "The hub" if part == "all" else f"A hub's {part}"
        output.good(f"{what} runs: {output.counted(len(config.flows), 'flow')}.")
        addresses = {f"webhooks of {name}": url for name, url in hooks.items()}
        output.details({**({"API": f"{api}/docs"} if api else {}), **addresses, "stop": "Ctrl-C"})
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
