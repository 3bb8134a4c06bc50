"""How the demo speaks: chapters, short sentences, proofs and progress bars on a terminal; nothing when it is silent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

Step = Callable[[int], None]
_INDENT = 3


class Teller:
    """Tells the story, and keeps every proof that failed."""

    def __init__(self, console: Console, *, silent: bool = False) -> None:
        self._console = console
        self._silent = silent
        self._chapter = 0
        self.failed: list[str] = []

    def title(self, text: str, beside: str) -> None:
        self._print(Text.assemble(("\n" + text, "bold"), ("  " + beside, "dim")), indent=0)

    def chapter(self, title: str) -> None:
        self._chapter += 1
        self._print(Text.assemble((f"\n{self._chapter}  ", "bold cyan"), (title, "bold")), indent=0)

    def say(self, text: str) -> None:
        self._print(Text(text))

    def quote(self, text: str) -> None:
        """What a person reads in their own system."""
        self._print(Text(f"“{text}”", style="yellow"), indent=_INDENT + 2)

    def prove(self, fact: str, true: bool) -> None:
        """A fact, with the mark that says whether it holds."""
        if not true:
            self.failed.append(fact)
        self._print(Text.assemble(("✓ ", "green") if true else ("✗ ", "bold red"), fact))

    @contextlib.contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        """A progress bar that is gone when it is full; the step is told how many are done in all."""
        if self._silent or not self._console.is_terminal:
            yield lambda done: None
            return
        columns = (
            TextColumn(" " * (_INDENT - 1)),
            SpinnerColumn(style="cyan"),
            TextColumn(f"{label:<34}"),
            BarColumn(bar_width=32, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(label, total=total)
            yield lambda done: progress.update(task, completed=min(done, total))

    def books(self, flows: Mapping[str, Mapping[str, int]]) -> None:
        """The books of every flow; a zero is a dot, so that the eye finds what counts."""
        states = [name for name in next(iter(flows.values())) if name != "captured"]
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        table.add_column("flow")
        for name in ("captured", *states):
            table.add_column(name, justify="right")
        for flow, book in flows.items():
            numbers = [str(book[name]) if book[name] else "·" for name in ("captured", *states)]
            table.add_row(flow, *numbers)
        self._print(table, indent=_INDENT - 1)

    def facts(self, facts: Mapping[str, str]) -> None:
        table = Table.grid(padding=(0, 3))
        table.add_column(style="dim")
        for name, value in facts.items():
            table.add_row(name, value)
        self._print(table)

    def blank(self) -> None:
        if not self._silent:
            self._console.print()

    def _print(self, what: Text | Table, indent: int = _INDENT) -> None:
        if not self._silent:
            self._console.print(Padding(what, (0, 0, 0, indent), expand=False))
