"""The engine: what a flow can be told to do. Whoever calls it (scheduler, worker, CLI, API) gets the same."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence

from hub.connector.breaker import BreakerState
from hub.connector.turns import for_flow
from hub.domain.clock import Clock
from hub.domain.delivery import State
from hub.domain.errors import HubError, NotFound, StoreError
from hub.store import claims
from hub.store.engine import Store
from hub.sync import lease, link, reconcile, stumble, write_back
from hub.sync.deliver import Pair, commit_intents, deliver
from hub.sync.failpoints import failpoint
from hub.sync.flow import Flow
from hub.sync.gather import load
from hub.sync.lease import Lease
from hub.sync.preview import Preview, preview
from hub.sync.probe import probe
from hub.sync.reading import Progress, Reader, RunReport, fetch_hints
from hub.sync.resolve import Resolver
from hub.sync.settle import Settler
from hub.sync.verify import verify
from hub.sync.work import Verdict, Work

log = logging.getLogger("hub.engine")

_AT_ONCE = 2  # batches of a flow under way in one process
_AFTER_MISTAKE = 900.0  # seconds until a write in doubt is looked into again after the hub stumbled over it
_LOOK_EVERY = 5.0  # seconds between two looks after expired leases
_PER_CALL = 20  # calls of a connector that one claim may fill, so that a lease never covers hours


class Engine:
    """Flows at work over one store."""

    def __init__(
        self, store: Store, flows: Mapping[str, Flow], clock: Clock | None = None, *, lease: float = lease.SECONDS
    ) -> None:
        self.store = store
        self.flows = dict(flows)
        self.clock = clock or store.clock
        self._holder = secrets.token_hex(8)
        self._lease = lease
        self._watch = claims.Watch(store, lease=lease)
        self._desks: dict[str, asyncio.Lock] = {}
        self._broken_off: list[claims.Claimed] = []  # and not handed back, since the store was away
        self._looked: dict[str, float] = {}  # when expired leases of a flow were last looked for

    def flow(self, name: str) -> Flow:
        """The flow of that name. Raises NotFound with the names there are."""
        try:
            return self.flows[name]
        except KeyError:
            raise NotFound(f"there is no flow {name!r}", hint=f"there are: {', '.join(sorted(self.flows))}") from None

    # ---- reading -------------------------------------------------------------------------------------------------

    async def read(
        self,
        flow: str,
        *,
        full: bool = False,
        since: int | None = None,
        cause: str = "person",
        progress: Progress | None = None,
    ) -> RunReport:
        """Capture what changed in the flow's source (`full`: everything, with a look after what is gone)."""
        one = self.flow(flow)
        with for_flow(one.policy.priority, bulk=full or since is not None):
            return await Reader(self.store, one).read(full=full, since=since, cause=cause, progress=progress)

    async def capture_records(self, flow: str, ids: Sequence[str], *, cause: str = "person") -> RunReport:
        """Capture these source records as they are now."""
        return await Reader(self.store, self.flow(flow)).capture_records(ids, cause=cause)

    async def fetch_hints(self, limit: int = 500, *, system: str | None = None) -> int:
        """Turn due webhook hints (of one system) into captures; returns how many there were."""
        return await fetch_hints(self.store, list(self.flows.values()), limit, system)

    # ---- delivering ----------------------------------------------------------------------------------------------

    async def drain(self, flow: str, *, progress: Progress | None = None) -> dict[str, int]:
        """Deliver until nothing of the flow is due. Returns how many deliveries came to stand in which state.

        Two batches are under way at a time: while one is out at the target, the other is made ready or written down.
        """
        total: dict[str, int] = {}
        busy = 0
        over = asyncio.Event()

        async def work() -> None:
            nonlocal busy
            while True:
                busy += 1
                try:
                    counts = await self.drain_once(flow)
                finally:
                    busy -= 1
                    over.set()
                if counts:
                    for state, count in counts.items():
                        total[state] = total.get(state, 0) + count
                    if progress is not None:
                        progress(sum(counts.values()))
                elif busy == 0:
                    return
                else:  # what the other batch brings to rest may make something due
                    over.clear()
                    await over.wait()

        # Not a task group: one batch that fails must not break off the other, which may be out at the target.
        ended = await asyncio.gather(*(work() for _ in range(_AT_ONCE)), return_exceptions=True)
        for failed in ended:
            if isinstance(failed, BaseException):
                raise failed
        return total

    async def drain_once(self, flow: str) -> dict[str, int]:
        """Claim one batch, and bring it to rest. Empty when nothing is due, or the target is down."""
        one = self.flow(flow)
        with for_flow(one.policy.priority):
            return await self._drain_once(one)

    async def _drain_once(self, one: Flow) -> dict[str, int]:
        await self._hand_back_late()
        await self._release_dead(one)
        limit = self._limit(one)
        now = self.clock.now()
        if one.mapping.write_back and not one.source.down_for(now):
            told = await write_back.drain(self.store, one, holder=self._holder, lease=self._lease, limit=limit)
            if told:
                return {"told": told}
        if one.target.down_for(now):
            return {}
        # One batch of a flow is thought about at a time; two would only take turns at the same processor and file.
        desk = self._desks.setdefault(one.name, asyncio.Lock())
        async with desk:
            asked = self.clock.monotonic()
            claimed = await claims.claim(self.store, one.name, limit=limit, lease=self._lease, holder=self._holder)
            if not claimed:
                return {}
            failpoint("after-claim")
            bulk = all(delivery.lane > 0 for delivery in claimed)
            async with Lease(self.store, claimed, asked, self._lease).kept():
                try:
                    with for_flow(one.policy.priority, bulk=bulk):
                        return await self._work(one, claimed, desk)
                except BaseException:
                    await asyncio.shield(self._hand_back(claimed))
                    raise

    async def _hand_back(self, claimed: Sequence[claims.Claimed]) -> None:
        """What is broken off is due again at once; if the store is away just now, as soon as it is back."""
        try:
            await claims.hand_back(self.store, claimed)
        except StoreError:
            self._broken_off += claimed

    async def _hand_back_late(self) -> None:
        late, self._broken_off = self._broken_off, []
        if late:
            await self._hand_back(late)

    async def _release_dead(self, flow: Flow) -> None:
        """Now and then: a holder that is gone is not gone for the first time in this second."""
        now = self.clock.monotonic()
        if now - self._looked.get(flow.name, -_LOOK_EVERY) >= _LOOK_EVERY:
            self._looked[flow.name] = now
            for name in (flow.name, flow.name + write_back.SUFFIX):
                if released := await self._watch.release_dead(name):
                    log.warning("%s: %d deliveries were taken back from a worker that is gone", name, released)

    def _limit(self, flow: Flow) -> int:
        if flow.target.breaker.state is not BreakerState.CLOSED:
            return 1  # the trial of a system that was down is one delivery: if it hangs again, one comes in doubt
        return max(1, min(flow.policy.batch, flow.target_schema.capabilities.write_batch * _PER_CALL))

    async def _work(self, flow: Flow, claimed: Sequence[claims.Claimed], desk: asyncio.Lock) -> dict[str, int]:
        settler = Settler(self.store, flow)
        works: list[Work] = []
        try:
            works = await self._ready(flow, claimed)
            pairs = [
                (work, task)
                for work in works
                if work.open
                for task in work.tasks
                if task.intent is not None and task.outcome is None and task.verdict is None
            ]
        except HubError as error:
            # Nothing has left yet: the batch goes back, and says what stood in its way.
            works = works or [Work(one, title=one.title, revision=one.revision) for one in claimed]
            for work in works:
                work.verdict = _handed_back(work, error)
            return await settler.settle(works)
        leaving = await commit_intents(self.store, flow, pairs)
        desk.release()
        try:
            await self._send(flow, works, leaving)
        finally:
            await desk.acquire()
        settler.judge(works)
        return await settler.settle(works)

    async def _ready(self, flow: Flow, claimed: Sequence[claims.Claimed]) -> list[Work]:
        """The batch, thought through. A record on which the hub or a connector stumbles is set aside, and no other.

        It is found by halves, since nothing has left yet and everything may be looked up again.
        """
        try:
            works = await load(self.store, flow, claimed)
            await probe(self.store, flow, works)
            await Resolver(self.store, flow).resolve(works)
        except HubError:
            raise
        except Exception as error:
            if len(claimed) == 1:
                what = f"flow {flow.name}: record {claimed[0].source_id} can't be worked on"
                return [_set_aside(claimed[0], stumble.told(error, what))]
            middle = len(claimed) // 2
            return [*await self._ready(flow, claimed[:middle]), *await self._ready(flow, claimed[middle:])]
        return works

    async def _send(self, flow: Flow, works: Sequence[Work], leaving: Sequence[Pair]) -> None:
        """The batch's time at the target."""
        began = time.monotonic()
        await deliver(flow, leaving)
        took = int((time.monotonic() - began) * 1000)
        for _, task in leaving:
            task.took = took
        try:
            await Resolver(self.store, flow).adopt_refused(works)
        except HubError as error:  # what was refused stays refused; the outcomes of the others must not be lost
            log.warning("flow %s: what was refused could not be looked up: %s", flow.name, error)
        await verify(flow, leaving)

    async def due_soon(self, flow: str) -> int | None:
        """When the flow's next delivery is due, epoch ms; None when it owes nothing."""
        one = self.flow(flow)
        dues = [
            await claims.next_due(self.store, one.name),
            await claims.next_due(self.store, one.name + write_back.SUFFIX) if one.mapping.write_back else None,
        ]
        return min((due for due in dues if due is not None), default=None)

    # ---- looking and linking -------------------------------------------------------------------------------------

    async def preview(self, flow: str, *, ids: Sequence[str] = (), since: int | None = None) -> list[Preview]:
        """What would be written for these source records (or for what changed since), without writing anything."""
        return await preview(self.store, self.flow(flow), ids=ids, since=since)

    async def link(self, flow: str, *, dry_run: bool = True, progress: Progress | None = None) -> link.LinkReport:
        """Match what exists on both sides in bulk."""
        return await link.link(self.store, self.flow(flow), dry_run=dry_run, progress=progress)

    async def reconcile(
        self,
        flow: str,
        *,
        repair: bool = False,
        allow_deletes: int | None = None,
        restart: bool = False,
        progress: Progress | None = None,
    ) -> reconcile.ReconcileReport:
        """Compare both sides in full."""
        return await reconcile.reconcile(
            self.store, self.flow(flow), repair=repair, allow_deletes=allow_deletes, restart=restart, progress=progress
        )

    async def start(self) -> None:
        """Call once when this process alone owns the store: whoever held a lease before is gone."""
        await claims.void(self.store)


def _handed_back(work: Work, error: HubError) -> Verdict:
    if work.claimed.state == State.DOUBT:
        return Verdict(State.DOUBT, "not_reached", str(error), delay=30.0, untouched=True)
    return Verdict(State.PENDING, "not_reached", str(error), delay=30.0)


def _set_aside(claimed: claims.Claimed, text: str) -> Work:
    """A record that is poison to us: dead, unless a write of it is in doubt, which a person then has to look into."""
    work = Work(claimed, title=claimed.title, revision=claimed.revision)
    if claimed.state == State.DOUBT:
        work.verdict = Verdict(State.DOUBT, stumble.STUMBLED, text, delay=_AFTER_MISTAKE, untouched=True)
    else:
        work.verdict = Verdict(State.DEAD, stumble.STUMBLED, text)
    return work
