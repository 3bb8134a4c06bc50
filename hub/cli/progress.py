"""Progress of long work, on stderr, and only for a person who watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from hub.cli.output import err


def _ignore(what: str, done: int, total: int | None) -> None:
    pass


@contextmanager
def watching(name: str, *, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None]]:
    """A function to tell progress to: a bar on a terminal, nothing elsewhere. Each stage has a line of its own."""
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err(),
        transient=True,
    )
    stages: dict[str, TaskID] = {}

    def tell(what: str, done: int, total: int | None) -> None:
        if what not in stages:
            stages[what] = bars.add_task(what, total=total)
        bars.update(stages[what], completed=done, total=total)

    with bars:
        yield tell
