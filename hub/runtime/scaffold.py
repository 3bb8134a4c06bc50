"""`hub init`: a project folder that works at once, made from what the connectors say of themselves."""

from __future__ import annotations

import shutil
import tomllib
import typing
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from hub.connector.contract import Receives
from hub.domain.errors import InvalidInput, NotFound
from hub.mapping.reader import nearest
from hub.runtime.config import FILE
from hub.runtime.connectors import Installed
from hub.runtime.settings import ApiSettings

_PAIR_FILE = "pair.toml"

IGNORED = ".env\nhub.db*\n*.log\n"


@dataclass(frozen=True, slots=True)
class Side:
    """One system of a new project: its name there, its connector, the simulator's port."""

    name: str
    connector: str
    port: int


@dataclass(frozen=True, slots=True)
class Pair:
    """What a folder of ready-made mappings needs around it: systems, constants, and the flows with their options."""

    title: str
    sides: tuple[Side, ...]
    params: dict[str, tuple[str, str]]  # name -> what it is, its value as YAML
    flows: dict[str, str]


def pairs() -> list[str]:
    """The ready-made mappings that are installed."""
    return sorted(item.name for item in files("mappings").iterdir() if (item / _PAIR_FILE).is_file())


def _pair(name: str) -> Pair:
    if name not in (known := pairs()):
        raise NotFound(f"There are no ready-made mappings `{name}`.", hint=nearest(name, known))
    content = tomllib.loads((files("mappings") / name / _PAIR_FILE).read_text(encoding="utf-8"))
    sides = tuple(Side(one["name"], one["connector"], one["port"]) for one in content["systems"])
    params = {key: (meaning, text) for key, (meaning, text) in content["params"].items()}
    return Pair(content["title"], sides, params, content["flows"])


@dataclass(frozen=True, slots=True)
class Made:
    folder: Path
    files: list[Path]
    next_steps: list[str]


def scaffold(folder: Path, name: str, installed: Installed, *, simulated: bool) -> Made:
    """Make the project. Raises NotFound for an unknown pair, InvalidInput when there is a project already or the folder
    can't be written.
    """
    try:
        return _make(folder, name, installed, simulated=simulated)
    except OSError as error:
        hint = "choose a folder that you may write"
        raise InvalidInput(f"{error.filename or folder} can't be written: {error.strerror}.", hint=hint) from error


def _make(folder: Path, name: str, installed: Installed, *, simulated: bool) -> Made:
    pair = _pair(name)
    if (folder / FILE).exists():
        raise InvalidInput(f"{folder / FILE} exists already.", hint="choose another folder, or delete it first")
    systems = {side.name: _settings(side, installed, simulated) for side in pair.sides}
    content = {
        FILE: _hub_yaml(pair, systems, simulated),
        ".env.example": _env(systems, filled=False),
        ".gitignore": IGNORED,
    }
    if simulated:
        content[".env"] = _env(systems, filled=True)
    (folder / "mappings").mkdir(parents=True, exist_ok=True)
    made = [_write(folder / file, text) for file, text in content.items() if not (folder / file).exists()]
    made += _copy_mappings(name, folder / "mappings")
    return Made(folder, [file.relative_to(folder) for file in made], _next(folder, pair, installed, simulated))


@dataclass(frozen=True, slots=True)
class _Setting:
    """One line of a system's settings. `variable` names the environment's; an optional one is left as a remark."""

    key: str
    value: Any
    description: str
    variable: str | None
    optional: bool = False


def _settings(side: Side, installed: Installed, simulated: bool) -> tuple[Side, list[_Setting]]:
    model = installed.connector(side.connector).manifest.settings
    values = _simulator_settings(side, installed) if simulated else {}
    lines = []
    for key, field in model.model_fields.items():
        if simulated and key not in values:
            continue
        secret = _secret(field.annotation)
        optional = not simulated and not field.is_required() and not key.endswith("url")
        if optional and not secret:
            continue
        variable = f"{side.name}_{key}".upper() if secret or not simulated else None
        lines.append(_Setting(key, values.get(key), (field.description or "").split("\n")[0], variable, optional))
    return side, lines


def _simulator_settings(side: Side, installed: Installed) -> dict[str, Any]:
    simulator: Any = installed.simulator(side.connector)()
    simulator.base_url = f"http://127.0.0.1:{side.port}"
    known = installed.connector(side.connector).manifest.settings.model_fields
    return {key: value for key, value in simulator.settings().items() if key in known and value is not None}


def _secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_secret(part) for part in typing.get_args(annotation))


def _hub_yaml(pair: Pair, systems: dict[str, tuple[Side, list[_Setting]]], simulated: bool) -> str:
    lines = [f"# {pair.title}. Secrets stand in .env, which is never committed.", "", "systems:"]
    for side, settings in systems.values():
        where = f"    # `hub sim {side.connector} --port {side.port}`" if simulated else ""
        lines += [f"  {side.name}:{where}", f"    connector: {side.connector}"]
        for line in settings:
            value = _from_env(line.variable, line.value) if line.variable else _yaml(line.value)
            if line.description:
                lines.append(f"    # {line.description}")
            lines.append(f"    {'# ' if line.optional else ''}{line.key}: {value}")
    lines += ["", "# Constants that the mappings ask for.", "params:"]
    for key, (meaning, text) in pair.params.items():
        lines += [f"  # {meaning}", f"  {key}: {text}"]
    lines += ["", "flows:"]
    width = max(map(len, pair.flows))
    lines += [
        f"  {flow + ':':<{width + 1}} {{mapping: mappings/{flow}.yaml, {options}}}"
        for flow, options in pair.flows.items()
    ]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """A scalar that is read back as it was: text that looks like something else is quoted."""
    from hub.mapping.document import scalar

    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and (
        scalar(value) != value or not value or value[0] in "!&*-?{}[],#|>@`\"'%" or ": " in value
    ):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _env(systems: dict[str, tuple[Side, list[_Setting]]], *, filled: bool) -> str:
    lines = ["# Made-up credentials of the simulators." if filled else "# Copy to .env and fill in. Never commit .env."]
    for side, settings in systems.values():
        lines += ["", f"# {side.name} ({side.connector})"]
        lines += [
            f"{'# ' if line.optional else ''}{variable}={value if filled else ''}"
            for line in settings
            if line.variable
            for variable, value in _variables(line.variable, line.value)
        ]
    return "\n".join(lines) + "\n"


def _from_env(variable: str, value: Any) -> str:
    """How hub.yaml names a secret of the environment; a map of secrets names one for each of its members."""
    if not isinstance(value, dict):
        return f"${{env:{variable}}}"
    members = (f"{_yaml(name)}: {_quoted(_from_env(_member(variable, name), one))}" for name, one in value.items())
    return f"{{{', '.join(members)}}}"


def _variables(variable: str, value: Any) -> list[tuple[str, Any]]:
    """The environment variables of one setting with their values."""
    if not isinstance(value, dict):
        return [(variable, value)]
    return [one for name, member in value.items() for one in _variables(_member(variable, name), member)]


def _member(variable: str, name: str) -> str:
    return f"{variable}_{name}".upper().replace("-", "_")


def _quoted(value: str) -> str:
    """A reference that stands inside a map: its braces would be read as a map of their own."""
    return f'"{value}"' if value.startswith("$") else value


def _copy_mappings(pair: str, folder: Path) -> list[Path]:
    made = []
    with as_file(files("mappings") / pair) as source:
        for file in sorted(source.iterdir()):
            target = folder / file.name
            if file.suffix in {".yaml", ".csv"} and not target.exists():
                shutil.copyfile(file, target)
                made.append(target)
    if not made:
        raise NotFound(f"The ready-made mappings `{pair}` are not installed.", hint="reinstall the hub")
    return made


def _next(folder: Path, pair: Pair, installed: Installed, simulated: bool) -> list[str]:
    go = [] if folder == Path() else [f"cd {folder}"]
    if not simulated:
        return [*go, "cp .env.example .env    # and fill it in", "hub check", "hub run"]
    sims = [f"hub sim {side.connector} --port {side.port}{_callback(side, installed)} &" for side in pair.sides]
    return [*go, *sims, "hub check", "hub run"]


def _callback(side: Side, installed: Installed) -> str:
    """Where a simulator of a system with webhooks sends them: to the hub as `hub run` serves it here."""
    if not issubclass(installed.connector(side.connector), Receives):
        return ""
    api = ApiSettings()
    return f" --callback http://{api.host}:{api.port}/hooks/{side.name}"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name == ".env":
        path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path
