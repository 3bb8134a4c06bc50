"""What the databases' drivers say, in sentences for people."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hub.domain.errors import StoreError


class StoreBusy(StoreError):
    """Somebody else held what we wanted for too long, or two transactions met. Repeated, the work may succeed."""


class StoreUnreachable(StoreError):
    """The database server did not let us in, or the connection broke. Nothing of the open transaction was kept."""


class StoreNewer(StoreError):
    """The store was made, or upgraded, by a newer release than this one."""


class ConstraintBroken(StoreError):
    """A rule of the tables (a unique key, a required value) refused the write; the transaction was rolled back."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    kind: type[StoreError]
    what: str
    hint: str


_FULL = _Sentence(
    StoreError, "the disk is full", "free some space; what was committed is safe, and work resumes by itself"
)
_READ_ONLY = _Sentence(
    StoreError, "it can only be read", "give the hub's user the right to write to it and to its folder"
)
_LOCKED = _Sentence(
    StoreBusy, "somebody else has locked it", "close other programs that have the database open, then try again"
)
_DAMAGED = _Sentence(
    StoreError, "the file is damaged", "restore the last backup of it, then let the hub read on from there"
)
_NO_RIGHTS = _Sentence(
    StoreError, "our user may not do that there", "grant the hub's user all rights on its own schema"
)
_BROKEN = _Sentence(
    ConstraintBroken, "a rule of the tables refused the write", "run it again; if it stays, report it with this message"
)

# Primary result codes, https://www.sqlite.org/rescode.html
_SQLITE: dict[int, _Sentence] = {
    3: _READ_ONLY,
    5: _LOCKED,
    6: _LOCKED,
    8: _READ_ONLY,
    10: _Sentence(StoreError, "the disk does not answer as it should", "check the disk that the file is on"),
    11: _DAMAGED,
    13: _FULL,
    14: _Sentence(
        StoreError, "the file can't be opened", "check that its folder exists and that the hub's user may write there"
    ),
    19: _BROKEN,
    26: _Sentence(StoreError, "the file is not a database of the hub", "name another file, or move this one away"),
}

# SQLSTATE, whole or by class, https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES: dict[str, _Sentence] = {
    "08": _Sentence(StoreUnreachable, "the connection broke", "check that the server runs and can be reached"),
    "23": _BROKEN,
    "25006": _READ_ONLY,
    "28": _Sentence(StoreUnreachable, "it refused our user or password", "check user and password in the store's URL"),
    "3D000": _Sentence(StoreUnreachable, "there is no database by that name", "create it, or correct the store's URL"),
    "40001": _Sentence(StoreBusy, "two transactions met", "run it again"),
    "40P01": _Sentence(StoreBusy, "two transactions waited for each other", "run it again"),
    "42501": _NO_RIGHTS,
    "53100": _FULL,
    "53300": _Sentence(
        StoreUnreachable, "it has no free connection for us", "raise its max_connections, or run fewer workers"
    ),
    "55P03": _LOCKED,
    "57": _Sentence(
        StoreUnreachable, "the server is stopping or was restarted", "wait for the server; work resumes by itself"
    ),
}

# A refused log-in has no SQLSTATE on the client side; libpq's words are all there is.
_LIBPQ: tuple[tuple[str, _Sentence], ...] = (
    ("password authentication failed", _POSTGRES["28"]),
    ("no password supplied", _POSTGRES["28"]),
    ("no pg_hba.conf entry", _POSTGRES["28"]),
    ("too many clients", _POSTGRES["53300"]),
    ("too many connections", _POSTGRES["53300"]),
    ("remaining connection slots are reserved", _POSTGRES["53300"]),
    ("is starting up", _POSTGRES["57"]),
    ("is shutting down", _POSTGRES["57"]),
    ("not currently accepting connections", _POSTGRES["57"]),
    ("does not exist", _POSTGRES["3D000"]),
)
_NO_ANSWER = _Sentence(
    StoreUnreachable, "the server does not answer", "check host and port in the store's URL, and that the server runs"
)


def explain(error: BaseException, store: str) -> StoreError:
    """`error` of a driver (or SQLAlchemy around it) as a StoreError about `store`, a name without a password.

    The driver's first line is kept as detail. Its statement, parameters and DETAIL are not: they hold personal data.
    """
    cause: BaseException | None = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, PoolTimeout):
        return StoreBusy(
            f"{store} can't be used: all connections are in use.", hint="run it again, or run fewer workers"
        )
    if isinstance(cause, sqlite3.Error):
        sentence = _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    elif isinstance(cause, psycopg.Error):
        sentence = _of_postgres(cause)
    else:
        sentence = None
    if sentence is None:
        return StoreError(f"{store} refused: {_first_line(cause)}.", hint="report it with this message")
    return sentence.kind(f"{store} can't be used: {sentence.what} ({_first_line(cause)}).", hint=sentence.hint)


def is_driver_error(error: BaseException) -> bool:
    """Whether `error` comes from a database driver or SQLAlchemy, and so needs to be explained."""
    return isinstance(error, SQLAlchemyError | sqlite3.Error | psycopg.Error)


def _of_postgres(error: psycopg.Error) -> _Sentence | None:
    state = error.sqlstate
    if state:
        return _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    words = str(error)
    for phrase, sentence in _LIBPQ:
        if phrase in words:
            return sentence
    return _NO_ANSWER if isinstance(error, psycopg.OperationalError) else None


def _first_line(error: BaseException | None) -> str:
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
