"""`hub ids`: which records are the same thing."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import output
from hub.cli.progress import watching
from hub.cli.session import Json, Why, operate
from hub.domain.errors import InvalidInput, NotFound, Place, Problem

app = typer.Typer(
    help="The ID map: which records of which systems are the same thing. A record is written SYSTEM:OBJECT:ID.",
    no_args_is_help=True,
)

Record = Annotated[str, typer.Argument(help="SYSTEM:OBJECT:ID, such as crm:AccountObj:65aa17a9.")]

COLUMNS = ("entity", "kind", "system", "object", "id", "facet", "number")
_SHOWN = {
    "kind": "Kind",
    "system": "System",
    "object": "Object",
    "id": "Id",
    "number": "Number",
    "facet": "Facet",
    "role": "Role",
    "deleted": "Deleted",
    "origin": "Came by",
    "since": "Since",
}
_CHUNK = 500


@app.command("show", epilog="[bold]Example[/bold]\n\nhub ids show crm:AccountObj:65aa17a9")
def show(context: typer.Context, record: Record, as_json: Json = False) -> None:
    """Show all records of the thing that this record is."""
    _print(operate(context, "ids.show", record=record), as_json)


@app.command("find", epilog="[bold]Example[/bold]\n\nhub ids find CUST0001")
def find(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="A record's id, or the number that people know it by.")],
    as_json: Json = False,
) -> None:
    """Find a thing by an id or a number of any of its records."""
    _print(operate(context, "ids.find", text=text), as_json)


@app.command("link", epilog="[bold]Example[/bold]\n\nhub ids link crm:AccountObj:65aa17a9 erp:BD_Customer:200001")
def link(
    context: typer.Context,
    a: Record,
    b: Annotated[str, typer.Argument(help="The record elsewhere that is the same thing.")],
    kind: Annotated[
        str | None, typer.Option(help="What they are (customer, order, ...), if neither is known.", show_default=False)
    ] = None,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Say that two records are the same thing. What waited for it goes on."""
    _print(operate(context, "ids.link", a=a, b=b, kind=kind, why=why), as_json)


@app.command("unlink")
def unlink(context: typer.Context, record: Record, why: Why = None, as_json: Json = False) -> None:
    """Say that a record is not that thing: it becomes a thing of its own, and what was sent to it is forgotten."""
    _print(operate(context, "ids.unlink", record=record, why=why), as_json)


@app.command("merge")
def merge(
    context: typer.Context,
    survivor: Record,
    loser: Annotated[str, typer.Argument(help="The record that was merged into it.")],
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Follow a merge made in a system: the loser still resolves references, and is never written again."""
    _print(operate(context, "ids.merge", survivor=survivor, loser=loser, why=why), as_json)


@app.command("split")
def split(context: typer.Context, record: Record, why: Why = None, as_json: Json = False) -> None:
    """Give a record (one merged by mistake, say) a thing of its own again."""
    _print(operate(context, "ids.split", record=record, why=why), as_json)


@app.command("export", epilog="[bold]Example[/bold]\n\nhub ids export customers.csv --kind customer")
def export(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The CSV file to write; standard output without one.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Write the ID map as CSV, a record a line; lines with the same entity are the same thing."""
    if as_json:
        for item in _pages(context, kind):
            output.print_json(item)
        return
    try:
        target = file.open("w", encoding="utf-8-sig", newline="") if file else sys.stdout
    except OSError as error:
        raise InvalidInput(f"{file} can't be written: {error.strerror}.") from error
    count = 0
    try:
        writer = csv.DictWriter(target, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for item in _pages(context, kind):
            writer.writerow(item)
            count += 1
    finally:
        if file:
            target.close()
    if file:
        output.good(f"{output.counted(count, 'record')} written to {file}.")


def _pages(context: typer.Context, kind: str | None) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = operate(context, "ids.export", quiet=True, kind=kind, after=after)
        yield from page["items"]
        after = page["next"]
        if after is None:
            return


@app.command("import", epilog='[bold]Example[/bold]\n\nhub ids import customers.csv --why "the old middleware\'s map"')
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A CSV file with the columns that `export` writes.")],
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Bring records into the ID map: lines with the same entity are the same thing. What is there already stays."""
    things = list(_things(file))
    done, refused = 0, []
    with watching("import") as progress:
        for start in range(0, len(things), _CHUNK):
            chunk = things[start : start + _CHUNK]
            answer = operate(context, "ids.import", quiet=True, things=chunk, why=why)
            done += answer["things"]
            refused += answer["refused"]
            progress("importing", start + len(chunk), len(things))
    if as_json:
        output.print_json({"things": done, "refused": refused})
    else:
        output.good(f"{output.counted(done, 'thing')} in the map.")
        for text in refused[:50]:
            output.bad(text)
    if refused:
        raise typer.Exit(5)


def _things(file: Path) -> Iterator[list[dict[str, Any]]]:
    """Groups of lines with the same entity; all that is wrong with the file at once."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.DictReader(source)
            missing = [
                name for name in ("entity", "kind", "system", "object", "id") if name not in (reader.fieldnames or ())
            ]
            if missing:
                hint = f"columns are {', '.join(COLUMNS)}; `hub ids export` writes an example"
                raise InvalidInput(f"{file} lacks the column {', '.join(missing)}.", hint=hint)
            groups: dict[str, list[dict[str, Any]]] = {}
            problems = []
            for line in reader:
                empty = [name for name in ("entity", "kind", "system", "object", "id") if not line.get(name)]
                if empty:
                    problems.append(Problem(f"`{', '.join(empty)}` is empty.", Place(str(file), reader.line_num, 1)))
                    continue
                kept = {name: line[name] for name in COLUMNS[1:] if line.get(name)}
                groups.setdefault(line["entity"], []).append(kept)
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {file}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{file} can't be read as CSV: {error}.", hint="save it as CSV in UTF-8") from error
    if problems:
        raise InvalidInput(f"{file} has lines that can't be used.", problems[:100])
    yield from groups.values()


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    shown = {
        key: heading
        for key, heading in _SHOWN.items()
        if key not in ("facet", "deleted") or any(item[key] for item in found["items"])
    }
    output.table(found["items"], shown)
