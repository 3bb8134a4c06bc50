"""The schema's history as one release knows it: its revisions in order, and how far a store has to be brought.

A release changes the schema in at most two steps. `NNNN_pre` only adds: code of the release before runs on it, so it
is applied while that code still works. `NNNN_post` takes away what nobody uses any more, once the last old process has
gone; the release itself runs on both. The first revision is `0001_post`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from hub.domain.errors import StoreError
from hub.store.errors import StoreNewer

HERE = Path(__file__).parent


class Step(StrEnum):
    PRE = "pre"
    POST = "post"


class History:
    """The revisions of a release; `more` are folders with further ones (tests play later releases with them).

    Files are named after their revisions, so that a process which has nothing to upgrade need not load Alembic: that
    would be a tenth of what a worker's start costs.
    """

    def __init__(self, *more: Path) -> None:
        self.folders = (HERE / "versions", *more)
        names = [file.stem for folder in self.folders for file in folder.glob("[0-9]*_*.py")]
        self.revisions = sorted(names, key=lambda name: (number_of(name), step_of(name) is Step.POST))  # oldest first

    @property
    def newest(self) -> str:
        return self.revisions[-1]

    @property
    def needed(self) -> str:
        """The oldest schema that this release works on: its newest pre-step, or the first schema of all."""
        pre = [revision for revision in self.revisions if step_of(revision) is Step.PRE]
        return pre[-1] if pre else self.revisions[0]

    @property
    def release(self) -> int:
        """The number of this release's schema."""
        return number_of(self.newest)

    def knows(self, revision: str) -> bool:
        return revision in self.revisions

    def between(self, current: str | None, wanted: str) -> list[str]:
        """The revisions after `current` (None: an empty store) up to and with `wanted`; none if it is there already."""
        start = 0 if current is None else self.revisions.index(current) + 1
        return self.revisions[start : self.revisions.index(wanted) + 1]

    def refuse_newer(self, name: str, current: str) -> None:
        """Raises StoreNewer for a revision unknown here, unless it is the next release's pre-step, which only adds."""
        if step_of(current) is Step.PRE and number_of(current) == self.release + 1:
            return
        raise StoreNewer(
            f"the store {name} has schema {current}, made by a newer release; this one knows up to {self.newest}.",
            hint="install the newer release again, or restore the backup from before the upgrade",
        )

    def refuse_older(self, name: str, current: str | None) -> None:
        """Raises StoreError for a schema that this release can't work on."""
        if current is not None and not self.between(current, self.needed):
            return
        made = f"has schema {current}" if current else "is empty"
        raise StoreError(
            f"the store {name} {made}; this release needs {self.needed}.",
            hint="run `hub store upgrade --pre`, or start the hub once with this release: it upgrades its store",
        )


def step_of(revision: str) -> Step | None:
    name = revision.partition("_")[2]
    return Step(name) if name in list(Step) else None


def number_of(revision: str) -> int:
    """The number of the release that a revision belongs to; -1 for a name that is none of the hub's."""
    number = revision.partition("_")[0]
    return int(number) if number.isdigit() else -1
