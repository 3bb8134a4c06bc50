"""A tenant's generated names: what a mapping calls a field or an object, and what it is called in this tenant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hub.domain.errors import Place


@dataclass(frozen=True, slots=True)
class Alias:
    """`name` is what mappings write, `real` what the system calls it, `place` where hub.yaml says so."""

    name: str
    real: str
    place: Place


@dataclass(frozen=True, slots=True)
class Names:
    """The aliases of `names:` in hub.yaml: for all systems, for one system, and for one object of a system.

    The narrower goes before the wider. An object's aliases stand under its real name or its alias, and hold for its
    rows as well.
    """

    everywhere: Mapping[str, Alias] = field(default_factory=dict)
    systems: Mapping[str, Mapping[str, Alias]] = field(default_factory=dict)
    objects: Mapping[tuple[str, str], Mapping[str, Alias]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.everywhere or self.systems or self.objects)

    def __iter__(self) -> Iterator[Alias]:
        yield from self.everywhere.values()
        for of_system in self.systems.values():
            yield from of_system.values()
        for of_object in self.objects.values():
            yield from of_object.values()

    def of_system(self, system: str) -> dict[str, Alias]:
        """What stands for an object's name in this system."""
        return {**self.everywhere, **self.systems.get(system, {})}

    def of(self, system: str, object: str) -> dict[str, Alias]:
        """What stands for a field's name in this object; `object` is its real name."""
        found = self.of_system(system)
        for (owner, name), aliases in self.objects.items():
            alias = self.of_system(system).get(name)
            if owner == system and object in (name, alias.real if alias else name):
                found |= aliases
        return found
