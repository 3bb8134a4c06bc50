"""Brings a store from the schema that it has to the one that it needs, on one connection and in one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from hub.domain.errors import StoreError
from hub.store.upgrade.history import HERE, History, Step, number_of, step_of

log = logging.getLogger("hub.store")

_MARK = "crm-hub"  # how our connections begin their application_name

_VERSION = "alembic_version"  # Alembic's own table
_UPGRADE_LOCK = 0x6372_6D68_7562  # 'crmhub'
LOCK_TIMEOUT = "3s"  # how long a statement of an upgrade may wait for a table


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did: the revisions that it applied, and those that wait for `hub store upgrade`."""

    schema: str
    applied: list[str]
    waiting: list[str]


def upgrade_schema(connection: Connection, history: History, *, name: str, step: Step | None) -> Upgraded:
    """Bring the schema to what the release needs (PRE), to its newest (POST), or change nothing and judge it (None).

    Runs in the caller's transaction: all of it or none. Two processes that start at once take turns: the second one
    finds nothing left to do. A new store gets everything. A post-step is refused while a process of an older
    release is connected, since that process may still use what the step takes away.

    Raises StoreNewer for a schema from the future, StoreError for one that is too old (None), for somebody else's
    tables, and for old processes in the way of a post-step.
    """
    current = revision_of(connection, name)
    if current is not None and not history.knows(current):
        history.refuse_newer(name, current)
        return Upgraded(current, [], [])
    if step is None:
        history.refuse_older(name, current)
    wanted = history.newest if step is Step.POST or current is None else history.needed
    pending = history.between(current, wanted) if step is not None else []
    if pending:
        _take_turn(connection)
        current = revision_of(connection, name)  # another process may have done it meanwhile
        if current is not None and not history.knows(current):
            history.refuse_newer(name, current)
            return Upgraded(current, [], [])
        pending = history.between(current, wanted)
    if pending:
        for revision in pending if current is not None else []:
            if step_of(revision) is Step.POST:
                refuse_beside_older(connection, name, revision)
        _run(connection, history, wanted)
        log.info("upgraded the store %s from schema %s to %s", name, current or "none", wanted)
        current = wanted
    assert current is not None
    return Upgraded(current, pending, history.between(current, history.newest))


def revision_of(connection: Connection, name: str) -> str | None:
    """The store's revision; None if it is empty. Raises StoreError when it holds somebody else's tables."""
    tables = set(inspect(connection).get_table_names())
    if _VERSION in tables:
        current: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSION}")).scalar()  # noqa: S608
        if current is not None:
            return current
    if strange := tables - {_VERSION}:
        raise StoreError(
            f"the store {name} holds tables that are not the hub's ({', '.join(sorted(strange)[:3])}, ...).",
            hint="give the hub a database of its own",
        )
    return None


def refuse_beside_older(connection: Connection, name: str, revision: str) -> None:
    """Raises StoreError when processes of a release before `revision` are connected. (SQLite has one process only.)"""
    if connection.dialect.name != "postgresql":
        return
    found = connection.execute(
        text(
            "SELECT pid, application_name, client_addr FROM pg_stat_activity WHERE datname = current_database()"  # noqa: S608
            f" AND pid <> pg_backend_pid() AND application_name LIKE {signature('%')}"
        )
    ).all()
    older = [row for row in found if number_of(row.application_name.split()[1]) < number_of(revision)]
    if older:
        hosts = sorted({str(row.client_addr or "this machine") for row in older})
        raise StoreError(
            f"the store {name} can't be brought to schema {revision}: processes of an older release still work on it "
            f"({len(older)} connections from {', '.join(hosts)}; server process {older[0].pid}).",
            hint="stop or upgrade those processes first, then run `hub store upgrade` again",
        )


def signature(release: str) -> str:
    """SQL for the application_name of a process of `release` (four digits, or % for any) on this database schema.

    The schema's name may be long, and need not be ASCII; application_name has 63 ASCII bytes.
    """
    return f"'{_MARK} {release} ' || left(md5(current_schema()), 8)"


def _take_turn(connection: Connection) -> None:
    """One upgrade at a time; and a statement that waits for a busy table gives up soon.

    Worker 1 has a long transaction open on `delivery`; our ALTER TABLE waits for it, and everybody who comes after
    waits behind our ALTER TABLE, even to read. So we step back after seconds, let them pass, and try again.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))


def _run(connection: Connection, history: History, wanted: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    settings = Config()
    settings.set_main_option("script_location", _escaped(HERE))
    settings.set_main_option("version_locations", "\n".join(map(_escaped, history.folders)))
    settings.set_main_option("path_separator", "newline")
    settings.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(settings)
    with EnvironmentContext(settings, scripts, fn=lambda at, _: scripts._upgrade_revs(wanted, at)):
        scripts.run_env()


def _escaped(folder: Path) -> str:
    return str(folder).replace("%", "%%")
