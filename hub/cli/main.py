"""The `hub` command: its groups, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import logging
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

# Typer brings a Click of its own, and exports few of its errors.
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from hub.cli.commands import (
    deliveries,
    flows,
    ids,
    inbox,
    mapping,
    overview,
    project,
    service,
    simulate,
    store,
    tables,
    work,
)
from hub.cli.output import err, print_error, print_json
from hub.cli.session import Session
from hub.domain.errors import HubError

EXIT_CODES = """
[bold]Exit codes[/bold]

0  done  ·  1  failed  ·  2  something you gave is wrong (a flag, a file, a name)  ·  3  a system can't be reached or
refuses  ·  4  the hub's own store can't be used  ·  5  done, but some records need a person  ·  130  interrupted
"""

app = typer.Typer(
    name="hub",
    help="Keeps the same business facts true in a CRM and the systems around it.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--project", "-p", help="The project's folder (or its hub.yaml); else $HUB_PROJECT, else the nearest."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell on stderr what is being done.")] = False,
) -> None:
    context.obj = Session(project=folder, verbose=verbose)
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.ERROR,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for noisy in ("aiosqlite", "asyncio", "httpcore", "tzlocal"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


project.add_to(app)
simulate.add_to(app)
service.add_to(app)
work.add_to(app)
overview.add_to(app)
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(inbox.app, name="inbox")
app.add_typer(ids.app, name="ids")
app.add_typer(tables.app, name="tables")
app.add_typer(flows.app, name="flows")
app.add_typer(mapping.app, name="mapping")
app.add_typer(store.app, name="store")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with an exit code of the table above."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. Nothing escapes as a traceback."""
    as_json = "--json" in arguments
    try:
        code = app(args=arguments, prog_name="hub", standalone_mode=False)
    except HubError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except typer.Exit as leaving:
        return leaving.exit_code
    except NoArgsIsHelpError as asked:
        asked.show()
        return 2
    except ClickException as wrong:
        if as_json:
            print_json({"error": {"kind": "Usage", "message": wrong.format_message(), "exit_code": 2}})
        else:
            wrong.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        err().print("Interrupted.")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        return _unexpected(error, as_json)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception, as_json: bool) -> int:
    """A mistake of ours: one sentence for the person, the traceback into a file."""
    with tempfile.NamedTemporaryFile("w", prefix="hub-error-", suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
    hint = f"the details are in {log.name}; please report them with what you did"
    found = HubError(f"Something went wrong inside the hub ({type(error).__name__}).", hint=hint)
    print_error(found, as_json=as_json)
    return found.exit_code
