"""Secrets come from the environment, from `.env` beside hub.yaml, or from files; never from hub.yaml itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hub.domain.errors import Place, Problem
from hub.mapping.document import Node

_REFERENCE = re.compile(r"\$\{(?:(env|file):)?([^{}]*)\}")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")


class Secrets:
    """Fills `${env:NAME}` and `${file:PATH}` in, and remembers where it did and where it could not."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.filled: set[Place] = set()
        self.missing: set[Place] = set()

    def fill(self, node: Node, problems: list[Problem]) -> Node:
        """The tree with every reference replaced; what is missing is added to `problems`, all of it."""
        if isinstance(node.value, tuple):
            return Node(tuple(self.fill(item, problems) for item in node.value), node.place)
        if node.map is not None:
            return Node({key: self.fill(item, problems) for key, item in node.map.items()}, node.place, node.keys)
        if isinstance(node.value, str) and "${" in node.value:
            return self._text(node, node.value, problems)
        return node

    def _text(self, node: Node, text: str, problems: list[Problem]) -> Node:
        def put(match: re.Match[str]) -> str:
            kind, name = match[1], match[2].strip()
            if kind == "env":
                value = self._environment.get(name)
                if not value:
                    hint = f"set {name} in the environment, or in the file .env beside hub.yaml"
                    problems.append(Problem(f"{name} is not set.", node.place, hint=hint, rule="secret"))
            elif kind == "file":
                value = self._file(name, node.place, problems)
            else:
                hint = "write ${env:NAME} or ${file:PATH}"
                problems.append(
                    Problem(f"`{match[0]}` does not say where to look.", node.place, hint=hint, rule="secret")
                )
                value = None
            (self.filled if value else self.missing).add(node.place)
            return value or ""

        return Node(_REFERENCE.sub(put, text), node.place, quoted=True)

    def _file(self, name: str, place: Place, problems: list[Problem]) -> str | None:
        path = self._folder / name
        try:
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            problems.append(Problem(f"The secret file {path} can't be read: {reason}.", place, rule="secret"))
            return None
        if not value:
            problems.append(Problem(f"The secret file {path} is empty.", place, rule="secret"))
        return value or None


def environment(folder: Path, process: Mapping[str, str]) -> dict[str, str]:
    """The process's environment over what `.env` in `folder` says."""
    try:
        text = (folder / ".env").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    return {**parse_env(text), **process}


def parse_env(text: str) -> dict[str, str]:
    """`NAME=value` lines; blank lines and `#` comments are skipped, quotes around a value are taken off."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        found = None if line.lstrip().startswith("#") else _LINE.fullmatch(line)
        if found:
            name, value = found[1], found[2]
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            else:
                value = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
            values[name] = value
    return values
