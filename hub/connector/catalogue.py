"""A connector's `objects.yaml`: compact YAML to the schemas of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from hub.domain.errors import InvalidInput, NotFound, Place, Problem
from hub.domain.schema import Capabilities, Facts, Field, FieldType, ObjectSchema, Wire

# A field is a line, `TYPE flag... key=value... | label`, or a mapping with the same names (tables, options).
_FLAGS = frozenset({"required", "readonly", "computed", "create_only", "unique", "many", "personal"})
_NUMBERS = frozenset({"length", "scale"})
_WORDS = frozenset({"wire", "tz", "reference", "takes", "row_key", "row_object"})
_FIELD_KEYS = _FLAGS | _NUMBERS | _WORDS | {"type", "label", "options", "fields"}
_CAN = frozenset({"create", "update", "delete", "sees_deletes", "webhooks", "files", "read_modified", "read_full"})
_OBJECT_KEYS = frozenset(
    {
        "label", "id", "title", "number", "modified", "version", "master", "master_field", "can", "operations",
        "steps", "batch", "upsert_key", "stamp_field", "settles_within", "repeats_within", "together", "order",
        "state_field", "locked_states", "fields",
    }
)  # fmt: skip
_DEFAULTS = "_defaults"  # of all objects: {tz: ..., wire: {datetime: epoch_ms}, can: [...], batch: {...}, ...}
_COMMON = "_common"  # fields that every object without `master` of its own rows has


class Catalogue(dict[str, ObjectSchema]):
    """Schemas by object name."""

    def schema(self, object: str) -> ObjectSchema:
        """The schema, or NotFound with the nearest names."""
        found = self.get(object)
        if found is None:
            near = get_close_matches(object, self, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(self))}"
            raise NotFound(f"there is no object '{object}'", hint=hint)
        return found


def load_catalogue(path: Path) -> Catalogue:
    """Read `objects.yaml`. Raises InvalidInput with everything that is wrong in it."""
    return parse_catalogue(path.read_text(encoding="utf-8"), str(path))


def parse_catalogue(text: str, file: str = "objects.yaml") -> Catalogue:
    """Read the text of an `objects.yaml`."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise InvalidInput(f"{file} is not YAML", [Problem(str(error).splitlines()[0], place)]) from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{file} must map object names to their descriptions")
    reader = _Reader(file, found.pop(_DEFAULTS, None) or {}, found.pop(_COMMON, None) or {})
    catalogue = Catalogue({str(name): reader.object(str(name), body) for name, body in found.items()})
    if reader.problems:
        raise InvalidInput(f"{file} has {len(reader.problems)} mistakes", reader.problems)
    return catalogue


class _Reader:
    """Reads objects one after another and collects what is wrong with them."""

    def __init__(self, file: str, defaults: Mapping[str, Any], common: Mapping[str, Any]) -> None:
        self._file = file
        self._wires: Mapping[str, str] = defaults.get("wire", {})
        self._tz = str(defaults.get("tz", "UTC"))
        self._defaults = {key: value for key, value in defaults.items() if key not in {"wire", "tz"}}
        self._common = common
        self.problems: list[Problem] = []

    def object(self, name: str, body: Any) -> ObjectSchema:
        if not isinstance(body, dict):
            self._wrong(name, "must be a mapping")
            body = {}
        given = {**self._defaults, **body}
        self._known(name, given, _OBJECT_KEYS)
        fields = self._fields(name, {**self._common, **(given.get("fields") or {})})
        id_field = str(given.get("id", "id"))
        for role in ("title", "number", "modified", "version", "stamp_field", "upsert_key", "state_field"):
            if given.get(role) is not None and given[role] not in fields and given[role] != id_field:
                self._wrong(name, f"{role}: '{given[role]}' is not one of its fields", given[role], fields)
        return ObjectSchema(
            name=name,
            label=str(given.get("label", name)),
            id_field=id_field,
            fields=fields,
            title_field=given.get("title"),
            number_field=given.get("number"),
            modified_field=given.get("modified"),
            version_field=given.get("version"),
            master=given.get("master"),
            master_field=given.get("master_field"),
            capabilities=self._capabilities(name, given),
            facts=self._facts(name, given, fields),
        )

    def _capabilities(self, name: str, given: Mapping[str, Any]) -> Capabilities:
        can = set(given.get("can") or ())
        for word in sorted(can - _CAN):
            self._wrong(name, f"can: '{word}' is no power", word, _CAN)
        batch = given.get("batch") or {}
        self._known(f"{name}.batch", batch, frozenset({"write", "get", "find"}))
        return Capabilities(
            read_modified="read_modified" in can or given.get("modified") is not None,
            read_full=True,
            sees_deletes="sees_deletes" in can,
            create="create" in can,
            update="update" in can,
            delete="delete" in can,
            operations=frozenset(map(str, given.get("operations") or ())),
            steps=tuple(map(str, given.get("steps") or ())),
            upsert_key=given.get("upsert_key"),
            stamp_field=given.get("stamp_field"),
            webhooks="webhooks" in can,
            files="files" in can,
            write_batch=int(batch.get("write", 1)),
            get_batch=int(batch.get("get", 100)),
            find_batch=int(batch.get("find", 50)),
        )

    def _facts(self, name: str, given: Mapping[str, Any], fields: Mapping[str, Field]) -> Facts:
        together = tuple(frozenset(group) for group in given.get("together") or ())
        for member in sorted({member for group in together for member in group} | set(given.get("order") or ())):
            head, _, rest = member.partition(".")
            rows = fields[head].rows if head in fields else None
            if member not in fields and (rows is None or rest not in rows):
                self._wrong(name, f"'{member}' is not one of its fields", member, fields)
        return Facts(
            settles_within=float(given.get("settles_within", 30.0)),
            repeats_within=float(given["repeats_within"]) if given.get("repeats_within") is not None else None,
            together=together,
            order=tuple(given.get("order") or ()),
            state_field=given.get("state_field"),
            locked_states=frozenset(map(str, given.get("locked_states") or ())),
        )

    def _fields(self, where: str, given: Mapping[Any, Any]) -> dict[str, Field]:
        return {str(name): self._field(f"{where}.{name}", str(name), body) for name, body in given.items()}

    def _field(self, where: str, name: str, body: Any) -> Field:
        given = dict(body) if isinstance(body, dict) else self._line(where, str(body))
        self._known(where, given, _FIELD_KEYS)
        try:
            type_ = FieldType(given.get("type", "rows" if "fields" in given else "text"))
            wire = Wire(given.get("wire", self._wires.get(type_, Wire.PLAIN)))
        except ValueError as error:
            self._wrong(where, str(error), str(given.get("type")), list(FieldType))
            return Field(name)
        options = given.get("options")
        return Field(
            name=name,
            type=type_,
            label=str(given.get("label", "")),
            wire=wire,
            tz=str(given.get("tz", self._tz)),
            options={str(key): str(label) for key, label in options.items()} if options else None,
            reference=given.get("reference"),
            takes=str(given.get("takes", "id")),
            rows=self._fields(where, given["fields"] or {}) if "fields" in given else None,
            row_key=given.get("row_key"),
            row_object=given.get("row_object"),
            length=int(given["length"]) if "length" in given else None,
            scale=int(given["scale"]) if "scale" in given else None,
            **{flag: bool(given[flag]) for flag in _FLAGS if flag in given},
        )

    def _line(self, where: str, line: str) -> dict[str, Any]:
        """`enum required options=A:draft,B:approved | state` as the mapping that it stands for."""
        head, _, label = line.partition("|")
        words = head.split()
        given: dict[str, Any] = {"type": words[0] if words else "text"}
        if label.strip():
            given["label"] = label.strip()
        for word in words[1:]:
            key, equals, value = word.partition("=")
            if key == "options" and equals:
                given[key] = dict(option.partition(":")[::2] for option in value.split(","))
            elif equals and key in _NUMBERS:
                given[key] = value
                if not value.isdigit():
                    self._wrong(where, f"{key} must be a number, not '{value}'")
                    del given[key]
            elif equals and key in _WORDS:
                given[key] = value
            elif not equals and key in _FLAGS:
                given[key] = True
            else:
                self._wrong(where, f"'{word}' is neither a flag nor key=value", key, _FLAGS | _NUMBERS | _WORDS)
        return given

    def _known(self, where: str, given: Mapping[Any, Any], known: frozenset[str]) -> None:
        for key in given:
            if key not in known:
                self._wrong(where, f"'{key}' is not known here", str(key), known)

    def _wrong(self, where: str, message: str, word: str | None = None, known: Any = ()) -> None:
        near = get_close_matches(str(word), list(known), n=1) if word else []
        hint = f"did you mean {near[0]}?" if near else None
        self.problems.append(Problem(f"{where}: {message}", Place(self._file), hint))
