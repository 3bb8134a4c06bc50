"""From configuration to things: connectors, schemas, mappings, flows. Nothing is opened before it is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.connector.breaker import Breaker
from hub.connector.contract import Catalogued, Connector
from hub.connector.kit import Kit
from hub.connector.limits import Usage
from hub.domain.clock import Clock, SystemClock
from hub.domain.errors import CredentialsRefused, HubError, InvalidInput, NotFound, Problem, Unreachable, VendorError
from hub.domain.schema import ObjectSchema
from hub.mapping import load
from hub.mapping.check import check_project
from hub.mapping.model import MappingSpec
from hub.mapping.names import Names
from hub.mapping.reader import nearest
from hub.runtime.aliases import unused
from hub.runtime.config import Config, FlowConfig
from hub.runtime.connectors import Installed
from hub.runtime.offline import offline_kit
from hub.runtime.shared import Shared
from hub.runtime.snapshots import NoSnapshots, Snapshots
from hub.runtime.units import instant, zone
from hub.store.engine import Store
from hub.sync.flow import Flow, OnAdopt, Policy, System

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("hub.project")

SchemaKey = tuple[str, str]

_PATIENCE = 30.0  # seconds that a description may take


class Project:
    """What `hub.yaml` speaks of, come alive. Closing it closes the connectors that were opened."""

    def __init__(
        self,
        config: Config,
        installed: Installed | None = None,
        *,
        clock: Clock | None = None,
        snapshots: Snapshots | None = None,
        offline: bool = False,
        store: Store | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self._shared = Shared(store, config) if store is not None else None
        self._installed = installed or Installed.here()
        self._snapshots = snapshots or NoSnapshots()
        self._offline = offline
        self._systems: dict[str, System] = {}
        self._schemas: dict[SchemaKey, ObjectSchema] = {}
        self._mappings: dict[str, MappingSpec] | None = None

    # -- systems ---------------------------------------------------------------------------------------------------

    def system(self, name: str) -> System:
        """The system by its name in `hub.yaml`; its connector is made on first use. Raises NotFound."""
        if name not in self._systems:
            chosen = self.config.systems.get(name)
            if chosen is None:
                known = self.config.systems
                raise NotFound(f"There is no system `{name}`.", hint=nearest(name, known))
            build: Any = self._installed.connector(chosen.connector)
            breaker = Breaker(self.clock)
            if self._offline:
                kit = offline_kit(name, self.clock)
            elif self._shared is not None:
                kit = self._shared.kit(name, chosen.connector, breaker)
            else:
                kit = Kit.local(name, clock=self.clock, breaker=breaker)
            self._systems[name] = System(name, build(chosen.settings, kit), breaker)
        return self._systems[name]

    @property
    def opened(self) -> dict[str, System]:
        """The systems that were used so far, by name."""
        return dict(self._systems)

    async def usage(self, name: str) -> list[Usage]:
        """How much of each of a system's quotas is used."""
        self.system(name)
        return await self._shared.usage(name) if self._shared is not None else []

    def connector(self, name: str) -> Connector:
        connector: Connector = self.system(name).connector
        return connector

    async def schema(self, system: str, object: str) -> ObjectSchema:
        """An object's schema: live, else as it was last seen, else the connector's catalogue. Raises NotFound."""
        key = (system, object)
        if key not in self._schemas:
            self._schemas[key] = await self._describe(system, object)
        return self._schemas[key]

    async def _describe(self, system: str, object: str) -> ObjectSchema:
        connector = self.connector(system)
        try:
            # All flows wait for this when the hub starts, also those that have nothing to do with a system that hangs.
            async with asyncio.timeout(_PATIENCE):
                schema = await connector.describe(object)
        except (Unreachable, VendorError, CredentialsRefused, TimeoutError) as error:
            found = await self._snapshots.find(system, object) or _of_catalogue(connector, object)
            why = error.message if isinstance(error, HubError) else f"no answer within {_PATIENCE:g} s"
            if found is None:
                if isinstance(error, HubError):
                    raise
                raise Unreachable(f"{system} can't be asked for its {object}: {why}.") from None
            log.warning("%s can't be asked for its %s: %s; the %s is used", system, object, why, found.origin)
            return found
        if schema.origin == "live":
            if await self._snapshots.keep(system, schema):
                log.warning("%s: the schema of %s has changed since it was last seen", system, object)
            return schema
        return await self._snapshots.find(system, object) or schema

    async def schemas(self, specs: Iterable[MappingSpec], problems: list[Problem]) -> dict[SchemaKey, ObjectSchema]:
        """Every schema that these mappings speak of; what can't be had is a problem at the line that names it."""
        wanted = {}
        for spec in specs:
            wanted[spec.source.system, spec.source.object] = spec.source.place
            wanted[spec.target.system, spec.target.object] = spec.target.place
            for relation in spec.related.values():
                wanted[spec.source.system, relation.object] = relation.place
        found = await asyncio.gather(*(self.schema(*key) for key in wanted), return_exceptions=True)
        schemas = {}
        for (key, place), answer in zip(wanted.items(), found, strict=True):
            if isinstance(answer, ObjectSchema):
                schemas[key] = answer
            elif isinstance(answer, HubError):
                problems.append(Problem(answer.message, place, hint=answer.hint, rule="schema"))
            else:
                raise answer
        return schemas

    # -- mappings --------------------------------------------------------------------------------------------------

    def mappings(self) -> dict[str, MappingSpec]:
        """The mapping of each flow, by the flow's name. Raises InvalidInput with every problem of every file."""
        if self._mappings is None:
            problems: list[Problem] = []
            found = {flow.name: spec for flow in self.config.flows.values() if (spec := self._load(flow, problems))}
            self._systems_exist(found, problems)
            if any(not problem.warning for problem in problems):
                raise InvalidInput("The mappings can't be used.", problems, hint="mend the lines named here")
            self._mappings = found
        return self._mappings

    def _load(self, flow: FlowConfig, problems: list[Problem]) -> MappingSpec | None:
        spec, found = read_mapping(flow.mapping_file, shown=flow.settings.mapping, names=self.config.names)
        problems += found
        return spec

    def _systems_exist(self, specs: Mapping[str, MappingSpec], problems: list[Problem]) -> None:
        for spec in specs.values():
            for side in (spec.source, spec.target):
                if side.system not in self.config.systems:
                    message = f"{self.config.file.name} has no system `{side.system}`."
                    hint = nearest(side.system, self.config.systems)
                    problems.append(Problem(message, side.place, hint=hint, rule="system"))

    async def check_mappings(self) -> list[Problem]:
        """All that is wrong with the mappings against both systems' schemas. Raises InvalidInput for their writing."""
        problems: list[Problem] = []
        await self._checked(self.mappings(), problems)
        return problems

    async def _checked(
        self, specs: Mapping[str, MappingSpec], problems: list[Problem]
    ) -> dict[SchemaKey, ObjectSchema]:
        schemas = await self.schemas(specs.values(), problems)
        params = {name for flow in self.config.flows.values() for name in flow.settings.params}
        problems += check_project(list(specs.values()), schemas, params=params | set(self.config.params))
        problems += unused(self.config.names, {alias for spec in specs.values() for alias in spec.aliases})
        return schemas

    async def known_schemas(
        self, flow: str
    ) -> tuple[ObjectSchema | None, dict[str, ObjectSchema | None], ObjectSchema | None]:
        """What was last seen of a flow's schemas (source, related by name, target), without asking a system."""
        try:
            spec = self.mappings().get(flow)
        except HubError:
            spec = None  # a mapping that is broken now must not keep anybody from looking at what it did
        if spec is None:
            return None, {}, None

        async def known(system: str, object: str) -> ObjectSchema | None:
            return self._schemas.get((system, object)) or await self._snapshots.find(system, object)

        related = {one.name: await known(spec.source.system, one.object) for one in spec.related.values()}
        source = await known(spec.source.system, spec.source.object)
        return source, related, await known(spec.target.system, spec.target.object)

    # -- flows -----------------------------------------------------------------------------------------------------

    async def flows(self, started: Mapping[str, int] | None = None) -> dict[str, Flow]:
        """Every flow, checked and compiled; `started` says since when each lives (epoch ms).

        Raises InvalidInput with every problem.
        """
        from hub.mapping.compile import compile_mapping

        problems: list[Problem] = []
        specs = self.mappings()
        schemas = await self._checked(specs, problems)
        if errors := [problem for problem in problems if not problem.warning]:
            raise InvalidInput("The mappings don't fit the systems.", errors, hint="`hub mapping check` shows the same")
        flows = {}
        for name, spec in specs.items():
            chosen = self.config.flows[name]
            source = schemas[spec.source.system, spec.source.object]
            target = settling(schemas[spec.target.system, spec.target.object], chosen.settings.settles_within)
            related = {one.name: schemas[spec.source.system, one.object] for one in spec.related.values()}
            read_file = beside(chosen.mapping_file)
            flows[name] = Flow(
                name=name,
                mapping=compile_mapping(spec, source=source, target=target, related=related, read_file=read_file),
                source=self.system(spec.source.system),
                target=self.system(spec.target.system),
                source_schema=source,
                target_schema=target,
                policy=policy(chosen, spec, (started or {}).get(name, self.clock.now())),
                params={**self.config.params, **chosen.settings.params},
                related_schemas=related,
            )
        pair(flows, specs)
        return flows

    async def aclose(self) -> None:
        """Close every connector that was opened."""
        opened, self._systems = list(self._systems.values()), {}
        await asyncio.gather(*(system.connector.aclose() for system in opened))
        if self._shared is not None:
            await self._shared.aclose()


def _of_catalogue(connector: Connector, object: str) -> ObjectSchema | None:
    if not isinstance(connector, Catalogued):
        return None
    try:
        return connector.catalogue(object)
    except NotFound:
        return None


def read_mapping(
    file: Path, *, shown: str | None = None, names: Names | None = None
) -> tuple[MappingSpec | None, list[Problem]]:
    """A mapping file as far as it can be read, with what is wrong with its writing; the tenant's `names` are put in.

    Raises NotFound.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        hint = nearest(file.name, [item.name for item in file.parent.glob("*.yaml")]) if file.parent.is_dir() else None
        raise NotFound(f"The mapping {file} can't be read: {error.strerror}.", hint=hint) from error
    return load.read(text, shown or str(file), names=names)


def beside(mapping: Path) -> Callable[[str], str]:
    """Reads files that a mapping names, beside it and below, never elsewhere. Raises NotFound."""

    def read(name: str) -> str:
        folder = mapping.parent.resolve()
        file = (folder / name).resolve()
        if not file.is_relative_to(folder):
            raise NotFound(f"{name} is not beside the mapping.", hint=f"put it into {folder}")
        try:
            return file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise NotFound(f"{file} can't be read: {reason}.") from error

    return read


def settling(schema: ObjectSchema, within: float | None) -> ObjectSchema:
    """The schema with this system's own time (seconds) after which an unanswered write has happened or never will."""
    return schema if within is None else replace(schema, facts=replace(schema.facts, settles_within=within))


def policy(flow: FlowConfig, spec: MappingSpec, started: int) -> Policy:
    """How the flow behaves; what `hub.yaml` leaves open, the mapping may say."""
    chosen = flow.settings
    begin = None
    if chosen.start is not None:
        begin = started if chosen.start == "now" else instant(chosen.start, zone(chosen.tz))
    adopt = chosen.on_adopt or (OnAdopt(spec.on_adopt) if spec.on_adopt else OnAdopt.NOTHING)
    return Policy(
        start=begin,
        first_sight=chosen.first_sight,
        create=chosen.create != "never" and spec.target.create != "never",
        priority=chosen.priority,
        on_adopt=adopt,
        on_gone=chosen.on_gone,
        attempts=chosen.attempts,
        backoff=chosen.backoff,
        backoff_limit=chosen.backoff_limit,
        blocked_every=chosen.blocked_every,
        blocked_for=chosen.blocked_for,
        delete_share=chosen.delete_share,
        batch=chosen.batch,
    )


def pair(flows: Mapping[str, Flow], specs: Mapping[str, MappingSpec]) -> None:
    """Make partners of two flows that carry the same kind of entity between the same two objects, each its own way."""
    ends = {
        (spec.entity, spec.source.system, spec.source.object, spec.target.system, spec.target.object): name
        for name, spec in specs.items()
    }
    for (kind, source, source_object, target, target_object), name in ends.items():
        other = ends.get((kind, target, target_object, source, source_object))
        if other is not None and name < other:
            flows[name].pair_with(flows[other])
