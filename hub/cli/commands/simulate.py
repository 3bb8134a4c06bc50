"""`hub sim`: a vendor's system on a desk."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Annotated, Any, get_type_hints

import typer

from hub.cli.output import details, print_json, say
from hub.cli.session import Json, run, session
from hub.domain.errors import InvalidInput
from hub.mapping.reader import nearest

EXAMPLES = """
[bold]Examples[/bold]

hub sim fxiaoke --port 9001 --settings

hub sim kingdee --port 9002

hub sim fxiaoke --port 9001 --with path_calls=1000

hub sim fxiaoke --port 9001 --callback http://127.0.0.1:8300/hooks/crm
"""


def add_to(app: typer.Typer) -> None:
    app.command("sim", epilog=EXAMPLES)(sim)


def sim(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which: fxiaoke, kingdee, ...")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    settings: Annotated[
        bool, typer.Option("--settings", help="Print one JSON line: base URL, made-up credentials, callback secrets.")
    ] = False,
    options: Annotated[
        list[str] | None,
        typer.Option("--with", help="A switch of this simulator, as NAME=VALUE; may be repeated.", show_default=False),
    ] = None,
    callback: Annotated[str | None, typer.Option(help="Send change callbacks to this URL.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Serve a simulator until Ctrl-C: the vendor's protocol over a real socket, with faults on demand."""
    kind = session(context).installed().simulator(name)
    _check_port(host, port)
    run(_serve(kind(**_switches(kind, name, options or [])), name, host, port, callback, settings or as_json))


def _switches(kind: type[Any], name: str, given: list[str]) -> dict[str, Any]:
    """The constructor's keywords out of NAME=VALUE, each in its own type. Raises InvalidInput."""
    known = {key: of for key, of in get_type_hints(kind.__init__).items() if of in (int, float, str)}
    switches: dict[str, Any] = {}
    for text in given:
        key, _, value = text.partition("=")
        if key not in known:
            hint = nearest(key, known) or f"there are: {', '.join(known) or 'none'}"
            raise InvalidInput(f"The simulator {name} has no switch `{key}`.", hint=hint)
        try:
            switches[key] = known[key](value)
        except ValueError as error:
            raise InvalidInput(f"`{key}` has to be a number, not `{value}`.") from error
    return switches


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidInput(
                f"Port {port} of {host} can't be used: {error.strerror}.", hint="choose another with --port"
            ) from error


async def _serve(simulator: Any, name: str, host: str, port: int, callback: str | None, as_line: bool) -> None:
    from hub.connector.serving import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    simulator.callback_url = callback
    async with serve(simulator, port, host) as running:
        if as_line:
            print_json({"simulator": name, "base_url": running.base_url, "settings": simulator.settings()})
        else:
            say(f"Simulator {name} at {running.base_url}; Ctrl-C ends it.", "bold")
            details({key: str(value) for key, value in simulator.settings().items()}, title="Settings for a client")
            say(f"Faults: {running.base_url}/_sim/faults · ground truth: {running.base_url}/_sim/records", "dim")
        await stop.wait()
