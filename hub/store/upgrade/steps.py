"""Which revision a store has, which this release has, and what to do about the difference.

A release changes the schema in at most two steps. `NNNN_pre` only adds: code of the release before runs on it, so it
is applied while that code still works. `NNNN_post` takes away what nobody uses any more, once the last old process has
gone. The first revision is `0001_post`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from hub.domain.errors import StoreError
from hub.store.errors import StoreNewer

_UPGRADE_LOCK = 0x6372_6D68_7562  # 'crmhub'


class Step(StrEnum):
    PRE = "pre"
    POST = "post"


def config() -> Config:
    """Alembic's settings: where the revisions are."""
    here = Config()
    here.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return here


def upgrade_schema(connection: Connection, *, name: str, apply: Step | None) -> None:
    """Bring the schema up to the newest revision of the step `apply` (None: change nothing, refuse an old one).

    Runs in the caller's transaction: all of it or none. Two processes that start at once take turns: the second one
    finds nothing left to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    settings = config()
    scripts = ScriptDirectory.from_config(settings)
    history = [script.revision for script in scripts.walk_revisions()]  # the newest first
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None and (strange := set(inspect(connection).get_table_names()) - {"alembic_version"}):
        raise StoreError(
            f"the store {name} holds tables that are not the hub's ({', '.join(sorted(strange)[:3])}, ...).",
            hint="give the hub a database of its own",
        )
    if current is not None and current not in history:
        refuse_unless_ahead_by_a_pre_step(name, current, history[0])
        return
    wanted = history[0] if apply is not Step.PRE else newest_before_post(history, current)
    if current == wanted:
        return
    if apply is None:
        made = f"has schema {current}" if current else "is empty"
        raise StoreError(
            f"the store {name} {made}; this release needs {wanted}.",
            hint="start the hub once with this release: it upgrades its store",
        )
    with EnvironmentContext(settings, scripts, fn=lambda revision, _: scripts._upgrade_revs(wanted, revision)):
        settings.attributes["connection"] = connection
        scripts.run_env()


def refuse_unless_ahead_by_a_pre_step(name: str, current: str, newest: str) -> None:
    """Raises StoreNewer for a revision that this release does not know, unless it only adds to what it knows."""
    number, _, step = current.partition("_")
    if step == Step.PRE and number.isdigit() and int(number) == int(newest.partition("_")[0]) + 1:
        return
    raise StoreNewer(
        f"the store {name} has schema {current}, made by a newer release; this one knows up to {newest}.",
        hint="install the newer release again, or restore the backup from before the upgrade",
    )


def newest_before_post(history: list[str], current: str | None) -> str:
    """The last pre-step that can be reached from `current` without passing a post-step."""
    pending = history[: history.index(current)] if current else history[:-1]
    reached = current or history[-1]
    for revision in reversed(pending):
        if revision.endswith(f"_{Step.POST}"):
            break
        reached = revision
    return reached
