"""The connectors and simulators that are installed, found by their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hub.connector.contract import Connector
from hub.connector.simulator import Simulator
from hub.domain.errors import HubError, NotFound
from hub.mapping.reader import nearest

CONNECTORS = "crm_hub.connectors"
SIMULATORS = "crm_hub.simulators"


class Installed:
    """Finds a connector or simulator class by the name that it registered."""

    def __init__(self, connectors: dict[str, EntryPoint], simulators: dict[str, EntryPoint]) -> None:
        self._connectors = connectors
        self._simulators = simulators

    @classmethod
    def here(cls) -> Installed:
        """Those of this Python environment. A package that can't be imported is found out only when it is used."""
        found = entry_points()
        return cls(
            {point.name: point for point in found.select(group=CONNECTORS)},
            {point.name: point for point in found.select(group=SIMULATORS)},
        )

    @property
    def connectors(self) -> list[str]:
        return sorted(self._connectors)

    @property
    def simulators(self) -> list[str]:
        return sorted(self._simulators)

    def connector(self, name: str) -> type[Connector]:
        """Raises NotFound with the names that there are, HubError when its package can't be loaded."""
        found: type[Connector] = _load(self._connectors, name, "connector", CONNECTORS)
        return found

    def simulator(self, name: str) -> type[Simulator]:
        found: type[Simulator] = _load(self._simulators, name, "simulator", SIMULATORS)
        return found


def _load(points: dict[str, EntryPoint], name: str, kind: str, group: str) -> Any:
    point = points.get(name)
    if point is None:
        known = ", ".join(sorted(points)) or "none"
        hint = nearest(name, points) or f"installed: {known}; a package of your own registers in the group `{group}`"
        raise NotFound(f"There is no {kind} `{name}`.", hint=hint)
    try:
        return point.load()
    except Exception as error:  # whatever a stranger's package raises while it is imported
        raise HubError(
            f"The {kind} `{name}` ({point.value}) can't be loaded: {type(error).__name__}: {error}",
            hint="reinstall or correct the package that brings it",
        ) from error
