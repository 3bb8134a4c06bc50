"""Tells one version of a mapping from another by what it does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hub.domain.errors import Place
from hub.mapping.lookups import LoadedTable
from hub.mapping.model import MappingSpec


def fingerprint(mapping: MappingSpec, tables: Mapping[str, LoadedTable]) -> str:
    """A hash of what the mapping does: not of its comments, its layout or its tests."""
    digest = hashlib.sha256()
    _digest(mapping, digest.update)
    for name in sorted(tables):
        _digest((name, tables[name].rows), digest.update)
    return digest.hexdigest()[:16]


def _digest(node: Any, update: Callable[[bytes], object]) -> None:
    if isinstance(node, Place):
        return
    if is_dataclass(node) and not isinstance(node, type):
        update(type(node).__name__.encode() + b"(")
        for member in fields(node):
            if member.name not in ("places", "tests", "place", "names", "aliases"):
                update(member.name.encode() + b"=")
                _digest(getattr(node, member.name), update)
        update(b")")
    elif isinstance(node, Mapping):
        update(b"{")
        for key, value in node.items():
            update(repr(key).encode() + b":")
            _digest(value, update)
        update(b"}")
    elif isinstance(node, (tuple, list)):
        update(b"[")
        for below in node:
            _digest(below, update)
        update(b"]")
    else:
        update(repr(node).encode() + b";")
