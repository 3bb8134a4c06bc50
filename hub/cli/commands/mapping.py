"""`hub mapping`: check, test, run, compare, turn round; what engineers do every day."""

from __future__ import annotations

import typer

app = typer.Typer(help="Mappings: check, test, try on a record, compare, turn round.", no_args_is_help=True)
