"""Resolve: a translated record becomes writes that are about to leave, or comes to rest with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import orjson

from hub.connector.contract import GetKind, Op, Write
from hub.domain.delivery import State
from hub.domain.errors import InvalidInput
from hub.domain.outcome import OutcomeKind
from hub.domain.record import Fields, Record, RowsWrite
from hub.domain.values import DoesNotFit, canonical
from hub.mapping.compile import CompiledMapping
from hub.mapping.model import Leaving
from hub.mapping.result import Context, Failed, Filtered, Item, Refused, Rendered, Waiting
from hub.store import claims
from hub.store.engine import Store
from hub.sync.changes import Difference, TablePolicy, difference, pair_rows, row_id_field, whole
from hub.sync.flow import Flow, OnAdopt, OnGone
from hub.sync.gather import Gatherer, read_targets
from hub.sync.locate import Found, Located, Want, empty, locate
from hub.sync.work import Intent, Task, Verdict, Work

_RETRY_PARTNER = 2.0  # seconds until a record that the other direction is writing is looked at again
_SWEEP = 600.0  # seconds after which what waits is looked at again, should every wake-up fail


class Resolver:
    """Decides, for a batch, what each delivery has to write. One instance a batch."""

    def __init__(self, store: Store, flow: Flow) -> None:
        self._store = store
        self._flow = flow
        self._mapping = flow.mapping

    async def resolve(self, works: Sequence[Work]) -> None:
        """Give every work its intents or its verdict."""
        for work in works:
            if work.open and work.payload is None and not work.claimed.deleted:
                work.verdict = Verdict(State.HELD, "no_payload", "the source record can't be read any more")
        gone = [work for work in works if work.open and work.claimed.deleted]
        for work in gone:
            self._leave(work, self._mapping.on_delete, self._mapping.on_delete_set, "deleted")
        alive = [work for work in works if work.open and not work.claimed.deleted]
        if not alive:
            return
        await Gatherer(self._store, self._flow).translate(alive)
        for work in alive:
            self._take_result(work)
        tasks = [(work, task) for work in alive if work.open for task in work.tasks if task.rendered is not None]
        await self._follow_target_ids(tasks)
        if self._flow.reads_before_write:
            await self._read_current(tasks)
        await self._find_targets([pair for pair in tasks if pair[0].open and pair[1].target is None])
        for work, task in tasks:
            if work.open and task.verdict is None and task.intent is None and task.outcome is None:
                self._decide(work, task)

    # ---- what the mapping said -----------------------------------------------------------------------------------

    def _take_result(self, work: Work) -> None:
        match work.result:
            case list() as rendered:
                self._take_rendered(work, rendered)
            case Filtered(rule=rule):
                self._leave(work, self._mapping.on_leave, self._mapping.on_leave_set, rule)
            case Refused(messages=messages):
                work.verdict = Verdict(State.DEAD, "refused", "; ".join(messages))
            case Failed(errors=errors):
                text = "; ".join(one.message for one in errors)
                work.verdict = Verdict(State.DEAD, "invalid", text)
            case Waiting() as waiting:
                self._wait(work, waiting)

    def _take_rendered(self, work: Work, rendered: list[Rendered]) -> None:
        by_facet = {task.facet: task for task in work.tasks}
        for one in rendered:
            facet = one.once or one.facet
            task = by_facet.get(facet)
            if task is None:
                task = Task(facet)
                work.tasks.append(task)
            task.rendered = one
            work.title = one.title or work.title
            for name, key in one.owes.items():
                resolved = work.resolved.get(key)
                if resolved is not None and resolved.entity is not None:
                    work.waits.add((resolved.entity, name))

    def _wait(self, work: Work, waiting: Waiting) -> None:
        names: list[str] = []
        for key in waiting.refs:
            resolved = work.resolved.get(key)
            if resolved is not None and resolved.entity is not None:
                work.waits.add((resolved.entity, ""))
            names.append(f"{key.kind} {key.value}")
        for table in waiting.tables:
            work.waits_lookups.add((table.table, orjson.dumps(list(table.key)).decode()))
            names.append(f"row {', '.join(table.key)} of lookup table {table.table}")
        text = f"waits for {', '.join(names[:5])} in {self._flow.target.name}"
        work.verdict = Verdict(State.WAITING, "reference" if waiting.refs else "lookup", text, delay=_SWEEP)

    # ---- leaving -------------------------------------------------------------------------------------------------

    def _leave(self, work: Work, policy: Leaving, setter: CompiledMapping | None, rule: str) -> None:
        """The record no longer satisfies `when`, or is gone: carry out the policy where the target has it from us."""
        targets = [task for task in work.tasks if task.target is not None]
        open_targets = [task for task in targets if not task.sent.left]
        if policy.kind == "ignore" or not open_targets:
            work.verdict = Verdict(State.FILTERED, rule)
            return
        for task in open_targets:
            target = task.target
            assert target is not None
            write = Write(Op.DELETE, target.record_id, options=self._options())
            if policy.kind == "do":
                write = Write(Op.OPERATION, target.record_id, operation=policy.do[0], options=self._options())
            elif setter is not None:
                fields = self._last_words(work, setter)
                write = Write(Op.UPDATE, target.record_id, fields, steps=self._mapping.steps, options=self._options())
            task.intent = self._intent(work, task, write, policy.do)
            task.intent.leaving = rule

    def _last_words(self, work: Work, setter: CompiledMapping) -> Fields:
        """What `set:` writes into the target of a record that left; of one that is gone only constants are known."""
        item = Item(work.claimed.source_id, work.payload.record if work.payload is not None else {})
        (result,) = setter.run([item], Context(params=self._flow.params, now=self._store.clock.now()))
        if isinstance(result, list):
            return result[0].fields
        raise InvalidInput(
            f"flow {self._flow.name}: what `set:` writes of a record that leaves can't be made: {result}"
        )

    # ---- which target record -------------------------------------------------------------------------------------

    async def _follow_target_ids(self, tasks: Sequence[tuple[Work, Task]]) -> None:
        """`target.id`: the record to write is another entity's (the approval of a quote writes the quote)."""
        for work, task in tasks:
            key = task.rendered.target_id if task.rendered is not None else None
            if key is None or task.target is not None:
                continue
            resolved = work.resolved.get(key)
            if resolved is not None and resolved.target is not None:
                task.target = resolved.target
                continue
            if resolved is not None and resolved.entity is not None:
                work.waits.add((resolved.entity, ""))
            work.verdict = Verdict(State.WAITING, "reference", f"waits for {key.kind} {key.value}", _SWEEP)

    async def _read_current(self, tasks: Sequence[tuple[Work, Task]]) -> None:
        """Two-way: what differs from `seen` is the target's own change; see `_decide`."""
        reading = [(work, task) for work, task in tasks if work.open and task.target is not None]
        await read_targets(self._flow, [task for _, task in reading], self._flow.target_fields)
        for _work, task in reading:
            match task.answer:
                case GetKind.GONE if self._flow.policy.on_gone is OnGone.RECREATE:
                    task.forget_target()
                case GetKind.GONE:
                    task.verdict = Verdict(State.HELD, "gone", f"{self._flow.target.name} no longer has this record")
                case GetKind.NO_RIGHTS:
                    task.verdict = Verdict(State.HELD, "no_rights", f"no right to read it in {self._flow.target.name}")
                case GetKind.CANT_TELL:
                    task.verdict = Verdict(
                        State.PENDING, "target", f"{self._flow.target.name} did not answer for it", delay=30, spent=True
                    )

    async def _find_targets(self, tasks: Sequence[tuple[Work, Task]]) -> None:
        """No identity means match, never blind create."""
        tasks = [(work, task) for work, task in tasks if task.outcome is None]
        wants: list[Want] = []
        asked: list[tuple[Work, Task]] = []
        for work, task in tasks:
            rendered = task.rendered
            if rendered is not None and task.verdict is None and (rendered.match or self._stamp_field):
                stamp = self.stamp(work, task) if work.claimed.attempts else None
                wants.append(Want(work.claimed.entity, rendered.match, stamp))
                asked.append((work, task))
        located = await locate(self._store, self._flow, wants, self._flow.target_fields) if wants else []
        busy = await self._under_way([answer.record.id for answer in located if answer.record is not None])
        for (_, task), answer in zip(asked, located, strict=True):
            if answer.found is Found.ONE and answer.record is not None and answer.record.id in busy:
                text = f"what {self._flow.target.name} {answer.record.id} becomes here is being written just now"
                task.verdict = Verdict(State.PENDING, "partner", text, delay=_RETRY_PARTNER)
            else:
                self.take_located(task, answer)
        await self._baselines([(work, task) for work, task in asked if task.adopted is not None])

    async def _under_way(self, ids: Sequence[str]) -> set[str]:
        """Two-way: which of these target records the partner has written here without having noted it yet.

        A customer of the ERP is created in the CRM and the worker dies; then this flow finds both and takes them for
        old acquaintances, whose differences stay as they are. But one is made of the other, and what has been changed
        since is a change. The partner's own probe links them; this delivery waits for it.
        """
        if self._flow.partner is None or not ids:
            return set()
        async with self._store.read() as conn:
            return await claims.with_intent(conn, self._flow.partner.name, ids)

    async def adopt_refused(self, works: Sequence[Work]) -> None:
        """A create that the target refused because it has this one already, or for a reason nobody knows: look, and
        adopt.

        What can't be found keeps its refusal.
        """
        refused = [
            (work, task)
            for work in works
            if work.open
            for task in work.tasks
            if task.outcome is not None
            and task.outcome.kind in (OutcomeKind.DUPLICATE, OutcomeKind.REJECTED)
            and task.intent is not None
            and task.intent.write.op is Op.CREATE
            and task.rendered is not None
        ]
        if not refused:
            return
        wants = [
            Want(work.claimed.entity, task.rendered.match if task.rendered else [], self.stamp(work, task))
            for work, task in refused
        ]
        located = await locate(self._store, self._flow, wants, self._flow.target_fields)
        for (work, task), answer in zip(refused, located, strict=True):
            if answer.found is Found.SEVERAL:
                task.verdict = Verdict(State.HELD, "several", answer.why)
            if answer.found is not Found.ONE or task.rendered is None:
                continue
            task.outcome = task.intent = None
            self.take_located(task, answer)
            self._adopt(work, task, task.rendered)
            if task.intent is not None:  # a policy wants to write: in its own turn, with its own intent
                task.intent = None
                task.verdict = Verdict(State.PENDING, "adopted")

    def take_baseline(self, work: Work, record: Record) -> None:
        """Link this work to that record, with today's rendering counting as sent: nothing is written."""
        self._take_result(work)
        for task in work.tasks:
            if task.rendered is None or not work.open:
                continue
            if task.target is None:
                task.adopted = record
            task.current = record
            self._adopt(work, task, task.rendered, policy=OnAdopt.NOTHING)
            work.verdict = task.verdict

    def take_located(self, task: Task, answer: Located) -> None:
        """Several and can't-tell are held for a person; a hit is adopted."""
        match answer.found:
            case Found.ONE:
                task.adopted = task.current = answer.record
                task.ours = answer.stamped
            case Found.SEVERAL:
                task.verdict = Verdict(State.HELD, "several", answer.why)
            case Found.CANT_TELL:
                task.verdict = Verdict(State.PENDING, "cant_tell", answer.why, delay=30, spent=True)

    async def _baselines(self, tasks: Sequence[tuple[Work, Task]]) -> None:
        """A record that was put to rest at first sight and has changed since: what it was then counts as sent.

        Without this, adopting would take today's state for the baseline and swallow the change that brought it here.
        """
        rested = [
            (work, task)
            for work, task in tasks
            if work.previous is not None and work.claimed.delivered_revision is None
        ]
        if not rested:
            return
        results = await Gatherer(self._store, self._flow).render([work.as_it_was() for work, _ in rested])
        for (_, task), result in zip(rested, results, strict=True):
            if isinstance(result, list):
                task.was = next((one for one in result if (one.once or one.facet) == task.facet), None)

    # ---- what to write -------------------------------------------------------------------------------------------

    def _decide(self, work: Work, task: Task) -> None:
        rendered = task.rendered
        assert rendered is not None
        if task.adopted is not None:
            self._adopt(work, task, rendered)
        elif task.target is None:
            self._create(work, task, rendered)
        else:
            self._update(work, task, rendered)

    def _create(self, work: Work, task: Task, rendered: Rendered) -> None:
        if not (self._flow.policy.create and self._mapping.creates):
            work.waits.add((work.claimed.entity, ""))
            task.verdict = Verdict(State.FILTERED, "create: never")
            return
        content = whole(rendered, skip=self._mapping.change_only)
        write = Write(
            Op.CREATE,
            None,
            content.fields,
            content.rows,
            steps=self._mapping.steps,
            stamp=self.stamp(work, task),
            options=self._options(),
        )
        task.intent = self._intent(work, task, write, rendered.actions)

    def _update(self, work: Work, task: Task, rendered: Rendered) -> None:
        assert task.target is not None
        found = self._differences(task, rendered)
        if found.held is not None:
            task.verdict = Verdict(State.HELD, "rows", f"rows of {found.held} are gone from the source")
            return
        if task.current is not None:
            self._append(task.current, found)
            self._foreign_rows(task, task.current, found)
            self._against_current(task, rendered, found)
            if task.verdict is not None:
                return
        actions = rendered.actions if list(rendered.actions) != task.sent.actions else ()
        resume = (not task.target.usable or task.unfinished) and bool(self._mapping.steps)
        if not found and not actions and not resume:
            task.verdict = Verdict(State.UNCHANGED)
            return
        if found or resume:
            write = Write(
                Op.UPDATE,
                task.target.record_id,
                found.fields,
                found.rows,
                steps=self._mapping.steps,
                done=() if found else ("save",),
                options=self._options(),
            )
        else:
            write = Write(Op.OPERATION, task.target.record_id, operation=actions[0], options=self._options())
        task.intent = self._intent(work, task, write, actions)

    def _differences(self, task: Task, rendered: Rendered) -> Difference:
        skip = self._mapping.create_only | self._flow.not_ours
        policies = {name: TablePolicy(table.missing) for name, table in self._mapping.tables.items()}
        return difference(
            rendered,
            task.sent,
            task.doubt,
            skip=skip,
            together=self._flow.target_schema.facts.together,
            tables=policies,
        )

    def _against_current(self, task: Task, rendered: Rendered, found: Difference) -> None:
        """The target as it is now: what already says the same needs no write; what somebody else wrote is recorded.

        A field owned by the target's side is not among the differences at all (`not_ours`). One that is ours is
        overwritten, and the value that stood there is kept in the attempt. Without an owner nobody decides but a
        person.
        """
        current = task.current
        assert current is not None
        seen = task.seen
        self._put_right(task, rendered, found)
        equal: list[str] = []
        for name, value in found.fields.items():
            field = self._flow.target_schema.fields.get(name)
            if field is None or name not in current.fields:
                continue
            theirs = current.fields[name]
            try:
                now_there = canonical(field, theirs)
                if now_there == canonical(field, value):
                    equal.append(name)
                    continue
                changed_there = seen is not None and name in seen and canonical(field, seen[name]) != now_there
            except DoesNotFit:
                continue
            if changed_there:
                if name in self._flow.unowned:
                    task.verdict = Verdict(
                        State.HELD,
                        "both_changed",
                        f"{name} was changed on both sides: ours {value!r}, theirs {theirs!r}, before {seen[name]!r}"
                        if seen
                        else None,
                    )
                    return
                task.overwritten[name] = theirs
            elif (
                (seen is None or name not in seen)
                and not empty(theirs)
                and not self._flow.same(name, task.sent.fields.get(name), theirs)
            ):
                task.overwritten[name] = theirs  # what stood there before we first looked is somebody's too
        together = self._flow.target_schema.facts.together
        kept = set(found.fields) - set(equal)
        for name in equal:
            if not any(name in group and not group.isdisjoint(kept) for group in together):
                task.sent.fields[name] = found.fields.pop(name)
                task.doubt = task.doubt - {name}

    def _append(self, current: Record, found: Difference) -> None:
        """`list: append`: what is there stays, in its order; what is ours and missing comes behind it."""
        for name in self._mapping.append_only & found.fields.keys():
            there, ours = current.fields.get(name), found.fields[name]
            if isinstance(there, list) and isinstance(ours, list):
                found.fields[name] = [*there, *(one for one in ours if one not in there)]

    def _foreign_rows(self, task: Task, current: Record, found: Difference) -> None:
        """Rows that the other side added: `keep` leaves them alone, `remove` takes them out, `hold` asks a person."""
        for name, table in self._mapping.tables.items():
            present = current.fields.get(name)
            if table.foreign == "keep" or not isinstance(present, list):
                continue
            ours = {row.id for row in task.sent.rows.get(name, {}).values()}
            key = row_id_field(self._flow.target_schema, name)
            foreign = [str(row[key]) for row in present if isinstance(row, dict) and str(row.get(key)) not in ours]
            if foreign and table.foreign == "hold":
                task.verdict = Verdict(State.HELD, "foreign_rows", f"{name} has rows that are not ours: {foreign[:10]}")
            elif foreign:
                found.rows.setdefault(name, RowsWrite()).remove.extend(foreign)

    def _put_right(self, task: Task, rendered: Rendered, found: Difference) -> None:
        """What is ours and was changed in the target is written again; what is theirs and was changed in our source is
        theirs to put right (`carry`). A difference that was there when the two were linked stays: nobody changed it.
        """
        current, seen = task.current, task.seen or {}
        assert current is not None
        skip = self._mapping.create_only | self._mapping.append_only | self._flow.unowned
        for name, value in rendered.fields.items():
            field = self._flow.target_schema.fields.get(name)
            if field is None or field.computed or name not in current.fields or name in found.fields:
                continue
            if self._flow.same(name, value, current.fields[name]):
                continue
            if name in self._flow.not_ours:
                task.carry = True
            elif name not in skip and name in seen and not self._flow.same(name, seen[name], current.fields[name]):
                found.fields[name] = value

    def _adopt(self, work: Work, task: Task, rendered: Rendered, policy: OnAdopt | None = None) -> None:
        """The record was there before us: link it, with `seen` of both sides; moving a field takes a policy."""
        policy = policy or self._flow.policy.on_adopt
        record = task.adopted or task.current
        assert record is not None
        rows: dict[str, dict[str, str]] = {}
        for table, found in rendered.rows.items():
            present = record.fields.get(table)
            there = cast("list[Fields]", present) if isinstance(present, list) else []
            wanted = whole(Rendered({}, {table: found}), skip=frozenset()).rows
            rest = wanted[table].upsert if table in wanted else []
            paired, unpaired = pair_rows(self._flow.target_schema, table, rest, there, frozenset())
            if unpaired and policy is not OnAdopt.SOURCE:
                task.adopted = None
                task.verdict = Verdict(
                    State.HELD,
                    "rows_unpaired",
                    f"{self._flow.target.name} {record.id} is the same record, but {len(unpaired)} rows of {table} "
                    "have no counterpart there",
                )
                return
            rows[table] = paired
        task.adopt(rendered, rows)
        if task.ours and task.new_sent is not None:
            # An attempt of our own made it, with the record as it was then: what still differs is sent next.
            theirs = record.fields
            task.new_sent.fields = {
                name: value
                for name, value in rendered.fields.items()
                if name in theirs and self._flow.same(name, value, theirs[name])
            }
            task.verdict = Verdict(State.PENDING, "adopted")
            return
        match policy:
            case OnAdopt.HOLD:
                task.verdict = Verdict(State.HELD, "adopted", f"matches {self._flow.target.name} {record.id}")
            case OnAdopt.NOTHING if task.was is not None:
                self._adopt_and_write(work, task, rendered, OnAdopt.NOTHING)
            case OnAdopt.NOTHING:
                task.verdict = Verdict(State.UNCHANGED, "adopted")
            case OnAdopt.FILL_EMPTY | OnAdopt.SOURCE:
                self._adopt_and_write(work, task, rendered, policy)

    def _adopt_and_write(self, work: Work, task: Task, rendered: Rendered, policy: OnAdopt) -> None:
        record = task.adopted
        assert record is not None
        skip = self._mapping.create_only | self._flow.not_ours
        was = task.was.fields if task.was is not None else {}

        def moves(name: str, value: object) -> bool:
            if policy is OnAdopt.NOTHING:
                return name in was and was[name] != value
            return policy is OnAdopt.SOURCE or empty(record.fields.get(name))

        fields = {
            name: value
            for name, value in rendered.fields.items()
            if name not in skip and moves(name, value) and not self._flow.same(name, value, record.fields.get(name))
        }
        if not fields:
            task.verdict = Verdict(State.UNCHANGED, "adopted")
            return
        write = Write(Op.UPDATE, record.id, fields, steps=self._mapping.steps, options=self._options())
        task.overwritten = {name: record.fields.get(name) for name in fields}
        task.intent = self._intent(work, task, write, ())

    # ---- intents -------------------------------------------------------------------------------------------------

    @property
    def _stamp_field(self) -> str | None:
        return self._flow.target_schema.capabilities.stamp_field

    def stamp(self, work: Work, task: Task) -> str:
        """The hub's key of a target record: which source record it is made from. The same for every attempt, so that
        a system that keeps it unique refuses the second by itself."""
        parts = [self._flow.source.name, self._flow.source_schema.name, work.claimed.source_id]
        return ":".join([*parts, task.facet] if task.facet else parts)

    def _intent(self, work: Work, task: Task, write: Write, actions: tuple[str, ...]) -> Intent:
        match = task.rendered.match if task.rendered is not None else []
        return Intent(
            write,
            task.facet,
            match if write.op is Op.CREATE else [],
            self._store.clock.now(),
            work.revision,
            actions,
            work.title,
            overwrites=dict(task.overwritten),
        )

    def _options(self) -> dict[str, object]:
        return self._flow.write_options
