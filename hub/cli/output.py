"""How the command line speaks: tables, sentences and JSON on stdout; errors, hints and progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hub.domain.errors import HubError, InvalidInput, Problem

STATE_STYLES = {
    "done": "green",
    "unchanged": "green",
    "filtered": "dim",
    "pending": "cyan",
    "working": "cyan",
    "waiting": "yellow",
    "blocked": "yellow",
    "doubt": "magenta",
    "held": "bold magenta",
    "dead": "bold red",
    "running": "cyan",
    "finished": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "new": "cyan",
    "handled": "green",
    "paused": "yellow",
    "active": "green",
}


_UNBOUNDED = 220

# Columns that are of no use when they are folded.
_WHOLE = frozenset(
    {"state", "id", "name", "flow", "at", "started", "since", "due", "received", "next_due", "last_run", "schedule"}
)


def out() -> Console:
    """Standard output. Rich honours NO_COLOR, and leaves colours out when the output is no terminal."""
    # A file or a pipe has no width of its own: wide enough that nothing is folded there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else _UNBOUNDED)


def err() -> Console:
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _UNBOUNDED)


def print_json(value: Any) -> None:
    """One JSON value on one line, for other programs."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode() + "\n")
    sys.stdout.flush()


def say(text: str, style: str | None = None) -> None:
    """A sentence for a person."""
    out().print(Text(text, style=style or ""))


def good(text: str) -> None:
    out().print(Text("✓ ", style="green") + Text(text))


def bad(text: str, hint: str | None = None) -> None:
    out().print(Text("✗ ", style="bold red") + Text(text))
    if hint:
        out().print(Text(f"  → {hint}", style="yellow"))


def warn(text: str, hint: str | None = None) -> None:
    out().print(Text("! ", style="yellow") + Text(text))
    if hint:
        out().print(Text(f"  → {hint}", style="yellow"))


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
    empty: str = "Nothing.",
) -> None:
    """Rows under headings; `columns` maps a row's key to its heading. States are coloured, times are local."""
    if not rows:
        say(empty, "dim")
        return
    right = set(right)
    made = Table(
        title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False, header_style="bold"
    )
    for key, heading in columns.items():
        made.add_column(
            heading,
            justify="right" if key in right else "left",
            overflow="fold",
            no_wrap=key in _WHOLE,
        )
    for row in rows:
        made.add_row(*(cell(key, row.get(key)) for key in columns))
    out().print(made)


def cell(key: str, value: Any) -> Text:
    """One value of a table."""
    if value is None or value == "":
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if key == "state" and isinstance(value, str):
        return Text(value, style=STATE_STYLES.get(value, ""))
    if isinstance(value, str) and len(value) >= 20 and value[4:5] == "-" and value.endswith("Z"):
        return Text(local_time(value))
    if isinstance(value, dict):
        return Text(", ".join(f"{name} {count}" for name, count in value.items() if count) or "–")
    return Text(str(value))


def details(pairs: Mapping[str, Any], *, title: str | None = None) -> None:
    """Names and values under each other."""
    if title:
        out().print(Text(title, style="bold"))
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs.items():
        made.add_row(escape(name), cell(name, value))
    out().print(made)


def local_time(value: str) -> str:
    """An ISO time of the hub as the wall clock here shows it; today's without the date."""
    try:
        at = datetime.fromisoformat(value).astimezone()
    except ValueError:
        return value
    return at.strftime("%H:%M:%S" if at.date() == datetime.now(at.tzinfo).date() else "%Y-%m-%d %H:%M")


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 record`, `2,500 records`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def print_problems(problems: Sequence[Problem], *, to_stderr: bool = True) -> None:
    """Each problem with its place first, so that editors can jump there; the hint below it."""
    console = err() if to_stderr else out()
    for problem in problems:
        sign = Text("! ", style="yellow") if problem.warning else Text("✗ ", style="bold red")
        where = Text(f"{problem.place}: ", style="cyan") if problem.place else Text("")
        console.print(sign + where + Text(problem.message))
        if problem.hint:
            console.print(Text(f"  → {problem.hint}", style="yellow"))


def print_error(error: HubError, *, as_json: bool) -> None:
    """What happened, where, and what to do next."""
    if as_json:
        print_json({"error": as_error(error)})
        return
    console = err()
    console.print(Text("Error: ", style="bold red") + Text(error.message))
    if isinstance(error, InvalidInput):
        print_problems(error.problems)
    if error.hint:
        console.print(Text(f"→ {error.hint}", style="yellow"))


def as_error(error: HubError) -> dict[str, Any]:
    """An error as JSON."""
    problems = error.problems if isinstance(error, InvalidInput) else []
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
        "problems": [as_problem(problem) for problem in problems],
    }


def as_problem(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "message": problem.message,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "hint": problem.hint,
        "rule": problem.rule,
        "warning": problem.warning,
    }
