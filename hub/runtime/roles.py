"""Which part of the work a process of the hub does."""

from __future__ import annotations

from enum import StrEnum

from hub.domain.errors import InvalidInput
from hub.mapping.reader import nearest
from hub.runtime.config import Config


class Part(StrEnum):
    """`hub run --role`. A fleet has as many of each as it likes; all share one PostgreSQL database."""

    ALL = "all"
    SCHEDULER = "scheduler"  # keeps schedules and house, and signals what is due
    WORKER = "worker"  # reads, fetches and delivers
    INGRESS = "ingress"  # webhooks and the API

    @property
    def listens(self) -> bool:
        return self in (Part.ALL, Part.INGRESS)

    @property
    def works(self) -> bool:
        return self in (Part.ALL, Part.WORKER)

    @property
    def schedules(self) -> bool:
        return self in (Part.ALL, Part.SCHEDULER)


def part_named(name: str) -> Part:
    """Raises InvalidInput with the nearest name."""
    try:
        return Part(name)
    except ValueError:
        known = [part.value for part in Part]
        raise InvalidInput(
            f"There is no role `{name}`.", hint=nearest(name, known) or f"roles: {', '.join(known)}"
        ) from None


def refuse_unless_possible(config: Config, part: Part, *, port: int | None = None) -> None:
    """Raises InvalidInput where the store or the configuration does not allow this part."""
    if port is not None and not part.listens:
        raise InvalidInput(
            f"A {part} does not listen, so it has no port.", hint="leave --port out, or choose --role ingress or all"
        )
    if config.store_file is None or part is Part.ALL:
        return
    if part is Part.INGRESS:
        if not config.flows:  # it keeps an inbox of its own, which an inner hub empties
            return
        raise InvalidInput(
            f"An ingress with an inbox of its own has no flows in {config.file.name}.",
            hint="leave `flows` to the inner hub, which empties the inbox (`inbox_from`); "
            "or use PostgreSQL, and let all processes share it",
        )
    raise InvalidInput(
        f"With SQLite one process does everything: it owns the file, so it can't be a {part} alone.",
        hint="run `hub run` without --role, or set `store: postgresql://…` in hub.yaml to spread over processes",
    )


def relays(config: Config) -> bool:
    """Whether this configuration is that of an ingress with an inbox of its own."""
    return config.store_file is not None and not config.flows
