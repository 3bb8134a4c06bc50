"""Turns a mapping file into the tree of forms, with all that is wrong in its writing at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hub.domain.errors import InvalidInput, Place, Problem
from hub.mapping.document import Node, parse
from hub.mapping.forms import NORMALISERS, WRITE_BACK_KEYS, section
from hub.mapping.load_values import ValueReader
from hub.mapping.model import (
    Action,
    Case,
    Constant,
    Ensure,
    Leaving,
    Let,
    MappingSpec,
    Match,
    Related,
    Require,
    Source,
    Split,
    Table,
    Target,
    WhenChanges,
    WriteBack,
    WriteBackValue,
)
from hub.mapping.names import Names
from hub.mapping.overlay import merge
from hub.mapping.rename import rename

Find = Callable[[str], tuple[str, str]]
"""Finds the mapping that `extends:` names: its text and file name. Raises NotFound."""


def load(text: str, file: str, *, find: Find | None = None, names: Names | None = None) -> MappingSpec:
    """The mapping in `text`, with what it extends merged in, and the tenant's own names put in.

    Raises InvalidInput with every problem of the writing (not of the schemas: that is `check`).
    """
    spec, problems = read(text, file, find=find, names=names)
    errors = [problem for problem in problems if not problem.warning]
    if spec is None or errors:
        raise InvalidInput(f"{file} can't be used as a mapping.", errors, hint="mend the lines named here")
    return spec


def read(
    text: str, file: str, *, find: Find | None = None, names: Names | None = None
) -> tuple[MappingSpec | None, list[Problem]]:
    """The mapping as far as it could be read, and what is wrong with it."""
    problems: list[Problem] = []
    node = document(text, file, problems, find=find)
    if node is None:
        return None, problems
    spec = build(node, problems)
    return rename(spec, names, problems) if spec is not None and names else spec, problems


def document(text: str, file: str, problems: list[Problem], *, find: Find | None = None) -> Node | None:
    """The mapping as a document whose nodes tell by their place which file each line came from."""
    node = parse(text, file, problems)
    if node is None or node.map is None:
        if not problems:
            problems.append(Problem("A mapping has to be a map.", Place(file, 1, 1), rule="form"))
        return None
    return merge(node, find, problems) if "extends" in node.map else node


def build(node: Node, problems: list[Problem]) -> MappingSpec | None:
    """The tree of forms of a document."""
    return _MappingReader(problems).mapping(node)


class _MappingReader(ValueReader):
    def mapping(self, node: Node) -> MappingSpec | None:
        given = self.section(node, "mapping", "The mapping")
        self.related = self._related(given.get("related"))
        source = self._source(given.get("source"))
        target = self._target(given.get("target"))
        name = self.text(given.get("mapping"), "`mapping`")
        entity = self.text(given.get("entity"), "`entity`")
        fields = self.rules(given.get("fields"), "`fields`")
        rest = MappingSpec(
            name=name or "",
            entity=entity or "",
            place=node.place,
            source=source or Source("", "", node.place),
            target=target or Target("", "", node.place),
            fields=fields,
            title=self.expr(given.get("title"), "`title`"),
            related=self.related,
            when=self.cel(given.get("when"), "`when`"),
            when_changes=self._when_changes(given.get("when_changes")),
            require=tuple(self.kept(self.items(given.get("require"), "`require`"), self._require)),
            match=tuple(self.kept(self.items(given.get("match"), "`match`"), self._match)),
            null=self._null(given.get("defaults")),
            let=self._let(given.get("let")),
            actions=tuple(self.kept(self.items(given.get("actions"), "`actions`"), self._action)),
            on_leave=self._leaving(given.get("on_leave"), "`on_leave`"),
            on_delete=self._leaving(given.get("on_delete"), "`on_delete`"),
            on_adopt=self._of_form("mapping", "on_adopt", given, "the mapping"),
            once_per=self.paths(given.get("once_per"), "`once_per`"),
            split=self._split(given.get("split")),
            ensure=self._ensure(given.get("ensure")),
            write_back=self._write_back(given.get("write_back")),
            lookups=self._lookups(given.get("lookups")),
            tests=tuple(self.kept(self.items(given.get("tests"), "`tests`"), self._test)),
            extends=self.text(given.get("extends"), "`extends`"),
        )
        return rest if source and target and name and entity and "fields" in given else None

    def _source(self, node: Node | None) -> Source | None:
        given = self.section(node, "source", "`source`")
        system = self.text(given.get("system"), "`source.system`")
        object_ = self.text(given.get("object"), "`source.object`")
        return Source(system, object_, node.place) if node and system and object_ else None

    def _target(self, node: Node | None) -> Target | None:
        given = self.section(node, "target", "`target`")
        system = self.text(given.get("system"), "`target.system`")
        object_ = self.text(given.get("object"), "`target.object`")
        options = self.members(given.get("options"), "`target.options`")
        if not (node and system and object_):
            return None
        return Target(
            system=system,
            object=object_,
            place=node.place,
            options={key: value.plain() for key, value in options.items()},
            after=self.texts(given.get("after"), "`target.after`"),
            when_locked=self._of_form("target", "when_locked", given, "`target`") or "hold",
            create=self._of_form("target", "create", given, "`target`") or "always",
            id=self.expr(given.get("id"), "`target.id`"),
        )

    def _related(self, node: Node | None) -> Mapping[str, Related]:
        members = self.members(node, "`related`")
        # The names are known before any path is read, so that `of` and `id` may come in any order.
        self.related = {
            name: Related(name, "", below.place, of=self.text(below.at("of"), "`of`"))
            for name, below in members.items()
        }
        found: dict[str, Related] = {}
        for name, below in members.items():
            what = f"`related.{name}`"
            given = self.section(below, "related", what)
            if ("where" in given) == ("id" in given):
                self.wrong(f"{what} needs either `where` or `id`.", below.place, rule="lacks")
            of = self.text(given.get("of"), f"`of` of {what}")
            if of is not None and (of not in members or of == name):
                self.wrong(f"{what}: there is no relation `{of}`.", given["of"].place, rule="unknown-name")
            where = self.members(given.get("where"), f"`where` of {what}")
            paths = {key: self.path(value, f"`where` of {what}") for key, value in where.items()}
            found[name] = Related(
                name=name,
                object=self.text(given.get("object"), f"`object` of {what}") or "",
                place=node.keys[name] if node else below.place,
                where={key: path for key, path in paths.items() if path},
                id=self.path(given.get("id"), f"`id` of {what}"),
                of=of,
                wakes=self.flag(given.get("wakes"), f"`wakes` of {what}") or False,
            )
        return found

    def _when_changes(self, node: Node | None) -> tuple[WhenChanges, ...]:
        if node is not None and node.list is not None:
            paths = [(item, self.path(item, "`when_changes`")) for item in node.list]
            return tuple(WhenChanges(path, item.place) for item, path in paths if path)
        found: list[WhenChanges] = []
        for name, below in self.members(node, "`when_changes`").items():
            place = node.keys[name] if node else below.place
            path = self.path(Node(name, place), "`when_changes`")
            given = self.section(below, "change", f"`when_changes.{name}`") if below.value is not None else {}
            if path:
                found.append(
                    WhenChanges(path, place, self._constants(given.get("from")), self._constants(given.get("to")))
                )
        return tuple(found)

    def _constants(self, node: Node | None) -> tuple[Constant, ...] | None:
        if node is None:
            return None
        return tuple(self.constant(item, "a value of `when_changes`") for item in self.one_or_many(node))

    def _require(self, node: Node) -> Require | None:
        given = self.section(node, "require", "An entry of `require`")
        that = self.cel(given.get("that"), "`that`")
        say = self.text(given.get("say"), "`say`")
        return Require(that, say, node.place) if that and say else None

    def _match(self, node: Node) -> Match | None:
        fields: dict[str, str | None] = {}
        places: dict[str, Place] = {}
        veto: tuple[str, ...] = ()
        for item in self.one_or_many(node):
            if item.map is None:
                name = self.text(item, "a field of `match`")
                if name:
                    fields[name], places[name] = None, item.place
                continue
            veto += self.texts(item.map.get("veto"), "`veto`")
            for name, below in item.map.items():
                places[name] = item.keys[name]
                if name != "veto":
                    fields[name] = self.choice(below, f"the normaliser of `{name}`", NORMALISERS)
        return Match(fields, veto, node.place, places) if fields else None

    def _null(self, node: Node | None) -> str:
        given = self.section(node, "defaults", "`defaults`")
        return self._of_form("defaults", "null", given, "`defaults`") or "clear"

    def _let(self, node: Node | None) -> Mapping[str, Let]:
        found: dict[str, Let] = {}
        for name, below in self.members(node, "`let`").items():
            value = self.expr(below, f"`let.{name}`")
            if value is not None and node is not None:
                found[name] = Let(name, node.keys[name], value)
        return found

    def _action(self, node: Node) -> Action | None:
        given = self.section(node, "action", "An entry of `actions`")
        condition = self.cel(given.get("if"), "`if` of an action")
        do = self.texts(given.get("do"), "`do` of an action")
        return Action(condition, do, node.place) if condition and do else None

    def _leaving(self, node: Node | None, what: str) -> Leaving:
        if node is None:
            return Leaving("ignore")
        if node.map is None:
            kind = self.choice(node, what, ("ignore", "delete"))
            return Leaving(kind or "ignore", node.place)
        given = self.section(node, "leaving", what)
        if len(given) != 1:
            self.wrong(f"{what} takes one of `set` and `do`.", node.place, rule="form")
        if "do" in given:
            do = self.texts(given["do"], f"`do` of {what}")
            if not do:
                self.wrong(f"`do` of {what} names no operation.", given["do"].place, "for example `do: Cancel`")
            return Leaving("do", node.place, do=do)
        return Leaving("set", node.place, set=self.rules(given.get("set"), f"`set` of {what}"))

    def _split(self, node: Node | None) -> Split | None:
        given = self.section(node, "split", "`split`")
        rows = self.path(given.get("rows"), "`split.rows`")
        by = self.path(given.get("by"), "`split.by`")
        return Split(rows, by, node.place) if node and rows and by else None

    def _ensure(self, node: Node | None) -> Mapping[str, Ensure]:
        found: dict[str, Ensure] = {}
        for name, below in self.members(node, "`ensure`").items():
            given = self.section(below, "ensure", f"`ensure.{name}`")
            equals = self.expr(given.get("equals"), f"`equals` of `ensure.{name}`")
            within = self.decimal(given.get("within"), f"`within` of `ensure.{name}`")
            if equals is not None and node is not None:
                found[name] = Ensure(name, equals, within, node.keys[name])
        return found

    def _write_back(self, node: Node | None) -> WriteBack | None:
        given = self.section(node, "write_back", "`write_back`")
        if node is None:
            return None
        return WriteBack(node.place, self._written(given.get("ok"), True), self._written(given.get("failed"), False))

    def _written(self, node: Node | None, ok: bool) -> Mapping[str, WriteBackValue]:
        keys = WRITE_BACK_KEYS if ok else ("message",)
        found: dict[str, WriteBackValue] = {}
        for name, below in self.members(node, "`write_back`").items():
            what = f"`write_back` of `{name}`"
            if below.map is not None:
                kind = "key" if "key" in below.map else "const"
                value = self.constant(below.map.get(kind), what)
                if len(below.map) != 1 or kind not in below.map:
                    self.wrong(f"{what} is one of `{{key: NAME}}` and `{{const: VALUE}}`.", below.place)
            else:
                value = self.constant(below, what)
                kind = "const" if value not in keys or below.quoted else ("key" if ok else "message")
            found[name] = WriteBackValue(kind, value, below.place)
        return found

    def _lookups(self, node: Node | None) -> Mapping[str, Table]:
        found: dict[str, Table] = {}
        for name, below in self.members(node, "`lookups`").items():
            place = node.keys[name] if node else below.place
            members = self.members(below, f"`lookups.{name}`")
            kept = members.keys() & section("lookup").keys() - {"else"}
            if kept and not (kept & {"file", "table"} and members.keys() <= section("lookup").keys()):
                kept = set()  # a table whose values happen to bear these names
            kind, other = self._else(members.get("else"), f"`else` of `lookups.{name}`")
            values = {} if kept else {key: value for key, value in members.items() if key != "else"}
            found[name] = Table(
                name=name,
                place=place,
                values={key: self.constant(value, f"`{key}` of `lookups.{name}`") for key, value in values.items()},
                places={key: below.keys[key] for key in values},
                file=self.text(members.get("file"), f"`file` of `lookups.{name}`") if kept else None,
                table=self.text(members.get("table"), f"`table` of `lookups.{name}`") if kept else None,
                keys=self.texts(members.get("keys"), f"`keys` of `lookups.{name}`") if kept else (),
                else_kind=kind,
                else_value=other,
            )
        return found

    def _else(self, node: Node | None, what: str) -> tuple[str, Constant]:
        if node is None:
            return "error", None
        value = self.constant(node, what)
        if isinstance(value, str) and value in ("error", "keep") and not node.quoted:
            return value, None
        return "const", value

    def _test(self, node: Node) -> Case | None:
        given = self.section(node, "test", "A test")
        name = self.text(given.get("name"), "`name` of a test")
        what = f"The test `{name}`"
        stage = self.section(given.get("given"), "given", f"`given` of {what}")
        waiting, actions = given.get("expect_waiting"), given.get("expect_actions")
        expected = [key for key in given if key.startswith("expect")]
        if not expected:
            self.wrong(f"{what} expects nothing.", node.place, "add `expect: {…}`", rule="lacks")
        return Case(
            name=name or "",
            place=node.place,
            record=self._plain(stage.get("record"), f"`record` of {what}"),
            related=self._plain(stage.get("related"), f"`related` of {what}"),
            ids=self._plain(stage.get("ids"), f"`ids` of {what}"),
            params=self._plain(stage.get("params"), f"`params` of {what}"),
            tables=self._plain(stage.get("tables"), f"`tables` of {what}"),
            previous=self._plain(stage["previous"], f"`previous` of {what}") if "previous" in stage else None,
            exists=self.flag(stage.get("exists"), f"`exists` of {what}") or False,
            waited=self.duration(stage.get("waited"), f"`waited` of {what}") or 0,
            now=self.text(stage.get("now"), f"`now` of {what}"),
            expect=given["expect"].plain() if "expect" in given else None,
            expect_only=given["expect_only"].plain() if "expect_only" in given else None,
            expect_error=self.text(given.get("expect_error"), f"`expect_error` of {what}"),
            expect_filtered=self._filtered(given.get("expect_filtered"), what),
            expect_waiting=self.texts(waiting, f"`expect_waiting` of {what}") if waiting else None,
            expect_actions=self.texts(actions, f"`expect_actions` of {what}") if actions else None,
        )

    def _filtered(self, node: Node | None, what: str) -> str | bool | None:
        if node is None or isinstance(node.value, (bool, str)):
            return None if node is None else node.value  # type: ignore[return-value]
        self.wrong(f"`expect_filtered` of {what} has to be `true` or a part of the rule.", node.place)
        return None

    def _plain(self, node: Node | None, what: str) -> Mapping[str, Any]:
        return {key: value.plain() for key, value in self.members(node, what).items()}
