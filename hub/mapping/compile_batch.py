"""Writes the two functions that a mapping becomes: one translates a batch, one tells what the batch will need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hub.domain.schema import Field
from hub.domain.values import canonical
from hub.mapping.compile_rows import FieldBuild
from hub.mapping.expressions_cel import uses
from hub.mapping.model import Cel, Each, WhenChanges


class BatchBuild(FieldBuild):
    """Writes the whole function."""

    def batch(self) -> Callable[..., list[Any]]:
        """The code of `run(items, context)`: a list with one result an item."""
        code = self.code
        self.bind_runtime()
        with code.block("def run(items, context)"):
            self._batch_start()
            code.line("results = []")
            with code.block("for item in items"):
                code.line("title = None")
                with code.block("try"):
                    self._item()
                with code.block("except Exception as error"):
                    code.line(f"results.append(Failed([wrong({code.bind('record')}, error)], title))")
            code.line("return results")
        self._batch_end()
        return code.build("run")

    def asking(self) -> Callable[..., Any]:
        """The code of `collect(items, context)`: the references asked for, by kind, and the rows of hub tables."""
        code = self.code
        self.bind_runtime()
        with code.block("def collect(items, context)"):
            self._batch_start()
            code.line("asked_tables = set()")
            with code.block("for item in items"):
                with code.block("try"):
                    self._asking_item()
                # What is wrong with a record is told by the run; here it only asks for nothing.
                with code.block("except Exception"):
                    code.line("continue")
            end = code.slot()
        self._batch_end()
        with code.at(end):
            sites = ", ".join(f"({code.bind(site)}, asked_{name})" for site, name in self.sites.items())
            code.line(f"return [{sites}], asked_tables")
        return code.build("collect")

    def row_facts(self, each: Each) -> tuple[Mapping[str, Field], set[str], str | None, str | None]:
        return self._row_fields(each)

    def _batch_start(self) -> None:
        self.code.line("params = context.params")
        self.batch_slot = self.code.slot()

    def _batch_end(self) -> None:
        """What the batch brings, now that it is known which of it is used."""
        code = self.code
        assert self.batch_slot is not None
        with code.at(self.batch_slot):
            if self.sites:
                code.line("answers = index_refs(context.refs)")
            for site, name in self.sites.items():
                key = code.bind((site.kind, site.object, site.by))
                code.line(f"{name} = answers.get({key}, EMPTY)")
                if self.collect:
                    code.line(f"asked_{name} = set()")
            for table, name in self.hub_tables.items():
                code.line(f"{name} = context.tables.get({code.bind(table)}, EMPTY)")

    def _item_start(self) -> None:
        code = self.code
        code.line("rec = item.record")
        code.line("get = rec.get")
        code.line("related = item.related")
        self.item_slot = code.slot()
        self.top.slot = self.item_slot

    def _asking_item(self) -> None:
        code = self.code
        self._item_start()
        early = self._lets_early()
        if early:
            self.let_slot = code.slot()
        if self.spec.when is not None:
            with code.block(f"if not {self.condition(self.spec.when, self.top)}"):
                code.line("continue")
        if not early:
            self.let_slot = code.slot()
        code.line("out = {}")
        shapes = self.target.fields if self.target else {}
        self.fields(self.spec.fields, shapes, self.top, "out")
        if self.spec.target.id is not None:
            self.value(self.spec.target.id, self.top, bare=True)
        for ensure in self.spec.ensure.values():
            if self.asks(ensure.equals):
                with self.caught(code.bind(ensure.field)):
                    self.value(ensure.equals, self.top)

    def _item(self) -> None:
        code = self.code
        code.line("errors = []")
        code.line("missing = []")
        code.line("missing_tables = []")
        code.line("owes = {}")
        self._item_start()
        early = self._lets_early()
        if early:
            self.let_slot = code.slot()
        self._title()
        self._conditions()
        if not early:
            self.let_slot = code.slot()
        for name in ("out", "tables", "numbers", "ensures"):
            code.line(f"{name} = {{}}")
        shapes = self.target.fields if self.target else {}
        self.fields(self.spec.fields, shapes, self.top, "out")
        self._ensures(shapes)
        self._target_id()
        self._once()
        self._actions()
        with code.block("if errors"):
            code.line("results.append(Failed(errors, title))")
        with code.block("elif missing or missing_tables"):
            code.line("results.append(Waiting(missing, missing_tables, title))")
        with code.block("else"):
            code.line(f"matches = {self._matches()}")
            given = 'out, tables, matches, title, "", target_id, once, owes, actions, ensures, numbers'
            code.line(f"results.append([Rendered({given})])")

    def _lets_early(self) -> bool:
        """Whether a `let` is read before it is known that the record travels at all."""
        conditions: list[Cel] = [one.that for one in self.spec.require]
        if self.spec.when is not None:
            conditions.append(self.spec.when)
        return any(use.root == "let" for cel in conditions for use in uses(cel.text)) or (
            self.spec.title is not None and ("let." in repr(self.spec.title))
        )

    def _title(self) -> None:
        if self.spec.title is None:
            return
        code = self.code
        # A title that can't be made is no reason to hold a record up.
        with code.block("try"):
            made = self.value(self.spec.title, self.top)
            code.line(f"title = None if {made} is ABSENT or {made} is None else key_text({made})")
        with code.block("except DoesNotFit"):
            code.line("title = None")

    def _conditions(self) -> None:
        code, spec = self.code, self.spec
        if spec.when is not None:
            rule = code.bind(f"when: {spec.when.text}")
            with self.caught(code.bind("when")), code.block(f"if not {self.condition(spec.when, self.top)}"):
                code.line(f"results.append(Filtered({rule}, title))")
                code.line("continue")
        if spec.when_changes:
            self._when_changes(spec.when_changes)
        if spec.require:
            code.line("refusals = []")
            for require in spec.require:
                holds = self.condition(require.that, self.top)
                with self.caught(code.bind("require")), code.block(f"if not {holds}"):
                    code.line(f"refusals.append({code.bind(require.say)})")
        if spec.when is not None or spec.require:
            with code.block("if errors"):
                code.line("results.append(Failed(errors, title))")
                code.line("continue")
        if spec.require:
            with code.block("if refusals"):
                code.line("results.append(Refused(refusals, title))")
                code.line("continue")

    def _when_changes(self, changes: tuple[WhenChanges, ...]) -> None:
        code = self.code
        code.line("previous = item.previous or EMPTY")
        tests = []
        for change in changes:
            name = change.field.name
            shape = self.top.fields.get(name) or Field(name)
            self.needs[""].add(name)

            def meant(value: Any, shape: Field = shape) -> Any:
                return canonical(shape, value)

            key, meaning = code.bind(name), code.bind(meant)
            sides = [
                code.bind(frozenset(meant(value) for value in side) if side is not None else None)
                for side in (change.from_, change.to)
            ]
            tests.append(f"changed({meaning}(previous.get({key})), {meaning}(get({key})), {sides[0]}, {sides[1]})")
        rule = code.bind("when_changes: " + ", ".join(change.field.text for change in changes))
        with code.block(f"if not ({' or '.join(tests)})"):
            code.line(f"results.append(Filtered({rule}, title))")
            code.line("continue")

    def _ensures(self, shapes: Mapping[str, Field]) -> None:
        code = self.code
        for ensure in self.spec.ensure.values():
            name = code.bind(ensure.field)
            within = code.bind(format(ensure.within, "f") if ensure.within is not None else None)
            with self.caught(name):
                made = self.value(ensure.equals, self.top)
                with code.block(f"if {made} is not ABSENT"):
                    self.rendered(made, shapes.get(ensure.field))
                    code.line(f"ensures[{name}] = ({made}, {within})")

    def _target_id(self) -> None:
        code = self.code
        code.line("target_id = None")
        if self.spec.target.id is None:
            return
        with self.caught(code.bind("target.id")):
            made = self.value(self.spec.target.id, self.top, bare=True)
            with code.block(f"if {made}.__class__ is RefKey"):
                code.line(f"target_id = {made}")
            with code.block("else"):
                message = "the record to write is not named"
                code.line(f"raise DoesNotFit('target.id', {message!r})")

    def _once(self) -> None:
        code = self.code
        code.line("once = None")
        if not self.spec.once_per:
            return
        with self.caught(code.bind("once_per")):
            parts = [self._plain_path(path, self.top) for path in self.spec.once_per]
            shown = ", ".join(f'"" if {part} is ABSENT or {part} is None else key_text({part})' for part in parts)
            code.line(f'once = "|".join(({shown},))')

    def _actions(self) -> None:
        code = self.code
        code.line("actions = ()")
        for action in self.spec.actions:
            holds = self.condition(action.if_, self.top, undecided=False)
            with self.caught(code.bind("actions")), code.block(f"if {holds}"):
                code.line(f"actions += {code.bind(action.do)}")

    def _matches(self) -> str:
        code = self.code
        keys = [
            f"match_key(out, {code.bind(tuple(match.fields.items()))}, {code.bind(match.veto)})"
            for match in self.spec.match
        ]
        if len(keys) == 1:
            return f"[key] if (key := {keys[0]}) is not None else []"
        return f"[key for key in ({', '.join(keys)},) if key is not None]" if keys else "[]"
