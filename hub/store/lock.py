"""One process owns a SQLite store: the lock file beside it, which also says how to reach the owner."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from hub.domain.errors import StoreError

_LOOKING = 0.5  # seconds for which the lock may be held by somebody without a name


@dataclass(frozen=True, slots=True)
class Holder:
    """Who owns the store. `api` is the URL of its admin API, `token_path` the file with the token for it."""

    pid: int
    api: str | None = None
    token_path: str | None = None


class StoreLocked(StoreError):
    """Another process owns the store; `holder` says who, so that a command can be handed to it."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        who = f"process {holder.pid}" if holder else "another process"
        hint = f"it listens at {holder.api}" if holder and holder.api else "stop it first, or let it do the work"
        super().__init__(f"the store {path} is in use by {who}.", hint=hint)
        self.holder = holder


class FileLock:
    """An exclusive lock on `<store>.lock`.

    The kernel drops it when its process dies, however it dies, so a file that is left behind locks nothing.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path = store.with_name(store.name + ".lock")
        self._fd: int | None = None

    def take(self) -> None:
        """Become the owner. Raises StoreLocked if somebody else is."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOOKING
        while not _lock(fd, fcntl.LOCK_EX):
            holder = _parse(os.pread(fd, 4096, 0))
            # Somebody who only looks (`holder_of`) holds it for an instant, and has not put a name to it.
            if (holder is not None and _alive(holder.pid)) or time.monotonic() > deadline:
                os.close(fd)
                raise StoreLocked(self._store, holder)
            time.sleep(0.005)
        self._fd = fd
        self.announce()

    def announce(self, *, api: str | None = None, token_path: str | None = None) -> None:
        """Write down who we are and how to reach us."""
        if self._fd is None:
            return
        body = orjson.dumps(asdict(Holder(os.getpid(), api, token_path)))
        os.pwrite(self._fd, body, 0)
        os.ftruncate(self._fd, len(body))

    def release(self) -> None:
        """Stop being the owner. The file stays: deleting it would let two owners lock two files of one name."""
        if self._fd is None:
            return
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
        self._fd = None


def holder_of(store: Path) -> Holder | None:
    """Who owns the store right now, or None if nobody does."""
    try:
        fd = os.open(store.with_name(store.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _lock(fd, fcntl.LOCK_SH) else _parse(os.pread(fd, 4096, 0)) or Holder(0)
    finally:
        os.close(fd)


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _parse(body: bytes) -> Holder | None:
    try:
        return Holder(**orjson.loads(body))
    except (orjson.JSONDecodeError, TypeError):
        return None  # its owner is writing it this moment
