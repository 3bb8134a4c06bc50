"""Who owns the SQLite store right now, and how to hand a command over."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub.domain.errors import StoreError
from hub.runtime.config import Config
from hub.store.lock import StoreLocked, holder_of


@dataclass(frozen=True, slots=True)
class Owner:
    """A running hub: its API's address and the token for commands of this machine's same user."""

    api: str
    token: str = field(repr=False)


def owner_of(config: Config) -> Owner | None:
    """The `hub run` that owns the project's store; None if nobody does, or if the store serves several processes.

    Raises StoreLocked when a process holds the store that can't be asked.
    """
    file = config.store_file
    if file is None or not file.exists():
        return None
    holder = holder_of(file)
    if holder is None:
        return None
    if holder.api is None or holder.token_path is None:
        raise StoreLocked(file, holder)
    try:
        token = Path(holder.token_path).read_text(encoding="ascii").strip()
    except OSError as error:
        raise StoreError(
            f"Process {holder.pid} owns the store, and its key {holder.token_path} can't be read: {error.strerror}.",
            hint="run the command as the user who started `hub run`",
        ) from error
    return Owner(holder.api, token)
