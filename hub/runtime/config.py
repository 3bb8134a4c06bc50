"""`hub.yaml`, read and validated: systems by their connector's own settings, all problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from hub.connector.contract import Connector
from hub.domain.errors import HubError, InvalidInput, NotFound, Place, Problem
from hub.mapping.document import Node, parse
from hub.mapping.names import Names
from hub.mapping.reader import nearest
from hub.runtime.aliases import read_names
from hub.runtime.secrets import Secrets, environment
from hub.runtime.settings import (
    TOP,
    ApiSettings,
    BudgetSettings,
    FleetSettings,
    FlowSettings,
    InboxesSettings,
    IngressSettings,
    RetentionSettings,
    RunSettings,
    StoreSettings,
)
from hub.runtime.validate import validate

FILE = "hub.yaml"
PROJECT_VARIABLE = "HUB_PROJECT"


class Catalogue(Protocol):
    """Who knows the connectors by name."""

    @property
    def connectors(self) -> list[str]: ...

    def connector(self, name: str) -> type[Connector]: ...


@dataclass(frozen=True, slots=True)
class SystemConfig:
    """One entry of `systems:`; `settings` is the connector's own model."""

    name: str
    connector: str
    settings: BaseModel
    place: Place


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """One entry of `flows:`; `mapping_place` is where its mapping's file is named."""

    name: str
    settings: FlowSettings
    place: Place
    mapping_place: Place
    mapping_file: Path


@dataclass(frozen=True, slots=True)
class Config:
    """A whole `hub.yaml`. `warnings` are what a person should mend although it works."""

    folder: Path
    file: Path
    store: StoreSettings
    api: ApiSettings
    systems: Mapping[str, SystemConfig]
    flows: Mapping[str, FlowConfig]
    params: Mapping[str, Any]
    retention: RetentionSettings
    names: Names = field(default_factory=Names)
    budgets: BudgetSettings = field(default_factory=BudgetSettings)
    run: RunSettings = field(default_factory=RunSettings)
    fleet: FleetSettings = field(default_factory=FleetSettings)
    inbox_from: Sequence[IngressSettings] = ()
    warnings: list[Problem] = field(default_factory=list)

    @property
    def store_url(self) -> str:
        """The store's address; a SQLite file is looked for beside `hub.yaml`, not where the command was typed."""
        url = self.store.url.get_secret_value()
        prefix = "sqlite:///"
        if url.startswith(prefix) and not url.startswith(f"{prefix}/"):
            return f"{prefix}{self.folder / url.removeprefix(prefix)}"
        return url

    @property
    def store_file(self) -> Path | None:
        """The SQLite file, if the store is one."""
        url = self.store_url
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None

    def flow(self, name: str) -> FlowConfig:
        """Raises NotFound with the nearest name."""
        if name not in self.flows:
            hint = nearest(name, self.flows) or f"flows in {self.file.name}: {', '.join(sorted(self.flows)) or 'none'}"
            raise NotFound(f"There is no flow `{name}`.", hint=hint)
        return self.flows[name]


def find(start: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The `hub.yaml` of `start` (a folder or the file), of $HUB_PROJECT, or of the nearest folder above this one.

    Raises NotFound.
    """
    chosen = start or (Path(environ[PROJECT_VARIABLE]) if environ.get(PROJECT_VARIABLE) else None)
    if chosen is not None:
        file = chosen / FILE if chosen.is_dir() else chosen
        if not file.is_file():
            raise NotFound(f"There is no {FILE} in {chosen}.", hint="make a project with `hub init FOLDER`")
        return file.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder / FILE
    raise NotFound(
        f"There is no {FILE} in {here}, nor in a folder above it.",
        hint="make a project with `hub init FOLDER`, or name one with `hub --project FOLDER`",
    )


def load(file: Path, installed: Catalogue, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `file`. Raises InvalidInput with every problem, NotFound when there is no file."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 text (byte {error.start}).", hint="save it as UTF-8") from error
    except OSError as error:
        raise NotFound(
            f"{file} can't be read: {error.strerror}.", hint="make a project with `hub init FOLDER`"
        ) from error
    config, problems = read(text, file, installed, environ)
    errors = [problem for problem in problems if not problem.warning]
    if config is None or errors:
        count = "one problem" if len(errors) == 1 else f"{len(errors)} problems"
        raise InvalidInput(
            f"{file.name} has {count}.", problems, hint="mend the lines named here, then run `hub check`"
        )
    return config


def read(
    text: str, file: Path, installed: Catalogue, environ: Mapping[str, str]
) -> tuple[Config | None, list[Problem]]:
    """The configuration as far as it can be read, and all that is wrong with it."""
    problems: list[Problem] = []
    node = parse(text, file.name, problems)
    if node is None or (node.map is None and node.value is not None):
        if not problems:
            problems.append(
                Problem("The file has to be a map with `systems:` and `flows:`.", Place(file.name), rule="type")
            )
        return None, problems
    reader = _Reader(file, installed, Secrets(file.parent, environment(file.parent, environ)), problems)
    config = reader.config(node if node.map is not None else Node({}, Place(file.name, 1, 1)))
    problems.sort(key=lambda problem: (problem.place.line, problem.place.column) if problem.place else (0, 0))
    return config, problems


class _Reader:
    def __init__(self, file: Path, installed: Catalogue, secrets: Secrets, problems: list[Problem]) -> None:
        self._file = file
        self._installed = installed
        self._secrets = secrets
        self._problems = problems

    def config(self, raw: Node) -> Config | None:
        node = self._secrets.fill(raw, self._problems)
        for key in node.map or {}:
            if key not in TOP:
                self._wrong(f"{self._file.name} has no section `{key}`.", node.keys[key], nearest(key, TOP), "unknown")
        store = self._section(StoreSettings, node, "store")
        api = self._section(ApiSettings, node, "api")
        retention = self._section(RetentionSettings, node, "retention")
        budgets = self._section(BudgetSettings, node, "budgets")
        run = self._section(RunSettings, node, "run")
        fleet = self._section(FleetSettings, node, "fleet")
        inboxes = self._inboxes(node)
        systems = {
            name: system for name, item in self._named(node, "systems") if (system := self._system(name, item, node))
        }
        flows = {name: flow for name, item in self._named(node, "flows") if (flow := self._flow(name, item, node))}
        params = self._params(node)
        names = read_names(node.at("names"), node.at("systems"), self._problems)
        if store is None or api is None or retention is None or run is None or fleet is None or inboxes is None:
            return None
        if budgets is None:
            return None
        return Config(
            folder=self._file.parent,
            file=self._file,
            store=store,
            api=api,
            systems=systems,
            flows=flows,
            params=params,
            retention=retention,
            names=names,
            budgets=budgets,
            run=run,
            fleet=fleet,
            inbox_from=tuple(inboxes.inbox_from),
            warnings=[problem for problem in self._problems if problem.warning],
        )

    def _inboxes(self, node: Node) -> InboxesSettings | None:
        below = node.at("inbox_from")
        given = {} if below is None else {"inbox_from": below}
        place = node.place_at("inbox_from")
        return validate(
            InboxesSettings, Node(given, place, dict.fromkeys(given, place)), self._secrets, self._problems, "hub.yaml"
        )

    def _section(self, model: Any, node: Node, key: str) -> Any:
        below = node.at(key) or Node({}, node.place_at(key))
        if key == "store" and isinstance(below.value, str):  # `store: sqlite:///hub.db` is enough
            below = Node({"url": below}, below.place, {"url": below.place})
        return validate(model, below, self._secrets, self._problems, f"`{key}`")

    def _named(self, node: Node, key: str) -> list[tuple[str, Node]]:
        below = node.at(key)
        if below is None or below.value is None:
            return []
        if below.map is None:
            self._wrong(f"`{key}` has to be a map of names, not {below.kind}.", below.place, None, "type")
            return []
        return list(below.map.items())

    def _system(self, name: str, item: Node, root: Node) -> SystemConfig | None:
        place = root.place_at("systems", name)
        if item.map is None:
            self._wrong(
                f"System `{name}` has to be a map, not {item.kind}.", item.place, "begin with `connector:`", "type"
            )
            return None
        chosen = item.at("connector")
        known = ", ".join(self._installed.connectors)
        if chosen is None or not isinstance(chosen.value, str):
            self._wrong(f"System `{name}` needs `connector`.", place, f"one of: {known}", "missing")
            return None
        try:
            connector = self._installed.connector(chosen.value)
        except HubError as error:
            self._wrong(error.message, chosen.place, error.hint, "connector")
            return None
        rest = Node(
            {key: below for key, below in item.map.items() if key != "connector"},
            item.place,
            {key: at for key, at in item.keys.items() if key != "connector"},
        )
        before = len([problem for problem in self._problems if not problem.warning])
        model = connector.manifest.settings
        settings = validate(model, rest, self._secrets, self._problems, f"System `{name}` ({chosen.value})")
        if settings is None or len([problem for problem in self._problems if not problem.warning]) > before:
            return None
        return SystemConfig(name, chosen.value, settings, place)

    def _flow(self, name: str, item: Node, root: Node) -> FlowConfig | None:
        place = root.place_at("flows", name)
        settings = validate(FlowSettings, item, self._secrets, self._problems, f"Flow `{name}`")
        if settings is None:
            return None
        mapping_file = self._file.parent / settings.mapping
        mapping_place = root.at("flows", name, "mapping")
        if not mapping_file.is_file():
            at = mapping_place.place if mapping_place else place
            self._wrong(
                f"There is no mapping file {settings.mapping}.", at, self._nearest_file(mapping_file), "mapping"
            )
        return FlowConfig(name, settings, place, mapping_place.place if mapping_place else place, mapping_file)

    def _nearest_file(self, file: Path) -> str | None:
        if not file.parent.is_dir():
            return f"there is no folder {file.parent}"
        return nearest(file.name, [item.name for item in file.parent.glob("*.yaml")])

    def _params(self, node: Node) -> dict[str, Any]:
        below = node.at("params")
        if below is None or below.value is None:
            return {}
        if below.map is None:
            self._wrong(f"`params` has to be a map, not {below.kind}.", below.place, None, "type")
            return {}
        plain: dict[str, Any] = below.plain()
        return plain

    def _wrong(self, message: str, place: Place, hint: str | None, rule: str) -> None:
        self._problems.append(Problem(message, place, hint=hint, rule=rule))
