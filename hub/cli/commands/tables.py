"""`hub tables`: lookup tables that are kept in the hub."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import output
from hub.cli.session import Json, Why, operate
from hub.domain.errors import InvalidInput, NotFound, Place, Problem

app = typer.Typer(
    help="Lookup tables that are kept in the hub. What waits for a row goes out as soon as the row is there.",
    no_args_is_help=True,
)

Table = Annotated[str, typer.Argument(help="The table's name, as mappings call it under `table:`.")]

_VALUE = "value"  # the column of a table whose rows are single values


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the tables: how many rows they have, who uses them, how many rows are waited for."""
    found = operate(context, "tables.list")
    if as_json:
        output.print_json(found)
        return
    rows = [{**one, "keys": ", ".join(one["keys"]), "flows": ", ".join(one["flows"])} for one in found["items"]]
    headings = {"table": "Table", "keys": "Key", "rows": "Rows", "wanted": "Waited for", "flows": "Used by"}
    output.table(
        rows, headings, right=("rows", "wanted"), empty="No mapping uses a table of the hub, and there is none."
    )


@app.command("show", epilog="[bold]Example[/bold]\n\nhub tables show tax")
def show(context: typer.Context, table: Table, as_json: Json = False) -> None:
    """Show a table's rows, and the rows that deliveries wait for."""
    pages = list(_pages(context, table))
    found = {**pages[0], "rows": [row for page in pages for row in page["rows"]]}
    if as_json:
        output.print_json({key: found[key] for key in ("table", "keys", "rows", "wanted")})
        return
    keys, columns = _columns(found)
    output.table(
        [_flat(row, keys) for row in found["rows"]], {name: name for name in (*keys, *columns)}, empty="No rows."
    )
    for one in found["wanted"]:
        waiting = output.counted(one["deliveries"], "delivery", "deliveries")
        output.warn(f"{' '.join(one['key'])} is missing: {waiting} wait for it")
    if found["wanted"]:
        key = " ".join(found["wanted"][0]["key"])
        output.say(f"  → hub tables set {table} {key} {_example(columns)}", "yellow")


def _example(columns: list[str]) -> str:
    return "--value …" if columns in ([], [_VALUE]) else " ".join(f"--set {name}=…" for name in columns)


_SET = """
[bold]Examples[/bold]

hub tables set currency CNY --value PRE001             a row with one value

hub tables set tax CN A --set rate=13 --set name=标准    a row with columns; the key has two parts here
"""


@app.command("set", epilog=_SET)
def set_(
    context: typer.Context,
    table: Table,
    key: Annotated[list[str], typer.Argument(help="The row's key, one word for each key column.")],
    value: Annotated[str | None, typer.Option("--value", help="The row's only value.", show_default=False)] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--set", help="COLUMN=VALUE; again for each column.", show_default=False)
    ] = None,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Add or change one row. What waits for it goes out at once."""
    if (value is None) is not bool(columns):
        raise InvalidInput("A row has either `--value` or columns.", hint="--value 13, or --set rate=13 --set name=…")
    parts = [one.partition("=") for one in columns or []]
    for name, sign, _ in parts:
        if not sign or not name:
            raise InvalidInput(f"`--set {name}` is not COLUMN=VALUE.", hint="for example --set rate=13")
    row = {"key": key, "value": {name: text for name, _, text in parts} if parts else value}
    _print(operate(context, "tables.set", table=table, rows=[row], why=why), as_json)


@app.command("remove", epilog="[bold]Example[/bold]\n\nhub tables remove tax CN A")
def remove(
    context: typer.Context,
    table: Table,
    key: Annotated[list[str], typer.Argument(help="The row's key, one word for each key column.")],
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Take one row out. What is delivered from here on waits for it."""
    _print(operate(context, "tables.remove", table=table, keys=[key], why=why), as_json)


@app.command("export", epilog="[bold]Example[/bold]\n\nhub tables export tax tax.csv")
def export(
    context: typer.Context,
    table: Table,
    file: Annotated[Path | None, typer.Argument(help="The CSV file to write; standard output without one.")] = None,
    as_json: Json = False,
) -> None:
    """Write a table as CSV: the key columns first."""
    pages = list(_pages(context, table))
    found = {**pages[0], "rows": [row for page in pages for row in page["rows"]]}
    if as_json and file is None:
        output.print_json(found["rows"])
        return
    keys, columns = _columns(found)
    try:
        target = file.open("w", encoding="utf-8-sig", newline="") if file else sys.stdout
    except OSError as error:
        raise InvalidInput(f"{file} can't be written: {error.strerror}.") from error
    try:
        writer = csv.DictWriter(target, [*keys, *(columns or [_VALUE])])
        writer.writeheader()
        writer.writerows(_flat(row, keys) for row in found["rows"])
    finally:
        if file:
            target.close()
    if as_json:
        output.print_json({"rows": len(found["rows"]), "file": str(file)})
    elif file:
        output.good(f"{output.counted(len(found['rows']), 'row')} written to {file}.")


@app.command("import", epilog="[bold]Example[/bold]\n\nhub tables import tax tax.csv --replace")
def import_(
    context: typer.Context,
    table: Table,
    file: Annotated[Path, typer.Argument(help="A CSV file with the columns that `export` writes.")],
    keys: Annotated[
        str | None,
        typer.Option("--keys", help="The key columns, if no mapping says: country,class.", show_default=False),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take out rows that the file does not have.")] = False,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Bring rows in from CSV, all or none. What waits for them goes out at once."""
    known = [name.strip() for name in keys.split(",")] if keys else operate(context, "tables.show", table=table)["keys"]
    rows = _read(file, table, known)
    _print(operate(context, "tables.set", table=table, rows=rows, replace=replace, why=why), as_json)


def _read(file: Path, table: str, keys: list[str]) -> list[dict[str, Any]]:
    """The file's rows; all that is wrong with it at once. A single column named `value` is the row's only value."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.DictReader(source, restkey="", strict=True)
            names = list(reader.fieldnames or ())
            if not keys:
                hint = f"say which columns are the key: --keys {names[0] if names else 'country'}"
                raise InvalidInput(f"No mapping says what the key of {table} is.", hint=hint)
            _check_columns(file, names, keys)
            columns = [name for name in names if name not in keys]
            rows, problems = [], []
            for line in reader:
                problem = _line_problem(line, keys, names)
                if problem:
                    problems.append(Problem(problem, Place(str(file), reader.line_num, 1)))
                value = line[_VALUE] if columns == [_VALUE] else {name: line[name] for name in columns}
                rows.append({"key": [line[name] for name in keys], "value": value})
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {file}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{file} can't be read as CSV: {error}.", hint="save it as CSV in UTF-8") from error
    if problems:
        raise InvalidInput(f"{file} has lines that can't be used; nothing was imported.", problems[:100])
    return rows


def _check_columns(file: Path, names: list[str], keys: list[str]) -> None:
    missing = [name for name in keys if name not in names]
    if missing or len(names) <= len(keys) or len(set(names)) < len(names):
        lacks = (
            f"lacks the column {', '.join(missing)}" if missing else "needs columns of different names besides the key"
        )
        raise InvalidInput(f"{file} {lacks}.", hint=f"the first line names the columns, {', '.join(keys)} among them")


def _line_problem(line: dict[str, Any], keys: list[str], names: list[str]) -> str | None:
    if "" in line or any(line[name] is None for name in names):
        return f"The line has not the {len(names)} columns of the first line."
    empty = [name for name in keys if not line[name]]
    return f"`{', '.join(empty)}` is empty." if empty else None


def _pages(context: typer.Context, table: str) -> Iterator[dict[str, Any]]:
    after: list[str] | None = None
    while True:
        page = operate(context, "tables.show", quiet=True, table=table, after=after)
        yield page
        after = page["next"]
        if after is None:
            return


def _columns(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What the key's parts and the values are called."""
    parts = max((len(row["key"]) for row in found["rows"]), default=1)
    keys = found["keys"] or ["key"] if parts == 1 else found["keys"] or [f"key {place + 1}" for place in range(parts)]
    columns: dict[str, None] = {}
    for row in found["rows"]:
        columns.update(dict.fromkeys(row["value"] if isinstance(row["value"], dict) else [_VALUE]))
    return keys, [name for name in columns if name not in keys]


def _flat(row: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    value = row["value"] if isinstance(row["value"], dict) else {_VALUE: row["value"]}
    return {**value, **dict(zip(keys, row["key"], strict=False))}


def _print(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(done)
        return
    said = [f"{output.counted(done['changed'], 'row')} changed"]
    if done["removed"]:
        said.append(f"{output.counted(done['removed'], 'row')} removed")
    if done["woken"]:
        said.append(f"{output.counted(done['woken'], 'delivery', 'deliveries')} that waited will go out")
    output.good(", ".join(said) + ".")
