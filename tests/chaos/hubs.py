"""The hub's processes of a run: started, killed, stopped, woken, and started again at once by whoever watches."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

_ROOT = Path(__file__).parents[2]
_START = 60.0  # seconds that the nursery may take to load the hub
_GRACE = 40.0  # seconds that a process may take to come to rest when it is told to


class NotAtWork(Exception):
    """No process of the hub answered; the text says what each said."""


@dataclass(frozen=True, slots=True)
class Life:
    """How a process is to live: with a failpoint armed or without, with its clock wrong by so many milliseconds."""

    failpoint: str | None = None
    clock: int = 0


@dataclass(frozen=True, slots=True)
class Death:
    """A process that has ended: its exit code, or minus the signal that ended it."""

    pid: int
    life: Life
    status: int


@dataclass(slots=True)
class Slot:
    """A place for one process. `died` is set when the one that is there has ended, with how it ended."""

    number: int
    port: int
    pid: int | None = None
    life: Life = Life()
    lives: int = 0
    died: asyncio.Future[int] | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def alive(self) -> bool:
        return self.died is not None and not self.died.done()

    @property
    def stopped(self) -> bool:
        """Whether it has been stopped (SIGSTOP), by itself or by others."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return self.alive and state == "T"

    def signal(self, sign: signal.Signals) -> None:
        if self.alive and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sign)

    async def ended_within(self, seconds: float) -> bool:
        """Wait for its end, so long at most; whether it has ended."""
        died = self.died
        assert died is not None
        await asyncio.wait({died}, timeout=seconds)
        return died.done()


class Hubs:
    """All processes over one project, one a port. Made by `hubs`."""

    def __init__(self, nursery: asyncio.subprocess.Process, project: Path, ports: Sequence[int], token: str) -> None:
        self.slots = [Slot(number, port) for number, port in enumerate(ports)]
        self.deaths: list[Death] = []
        self.next_life: Callable[[Slot], Life] = lambda slot: Life()
        self._nursery = nursery
        self._project = project
        self._token = token
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._starting = asyncio.Lock()
        self._of: dict[int, Slot] = {}
        self._restart = True
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, slot: Slot, life: Life) -> None:
        """Have a process in this place."""
        slot.lives += 1
        order = {
            "argv": ["--project", str(self._project), "run", "--port", str(slot.port), "--json"],
            "log": str(self._project / f"hub-{slot.number}.log"),
            "failpoint": life.failpoint,
            "clock": life.clock,
        }
        assert self._nursery.stdin is not None
        async with self._starting:
            self._nursery.stdin.write(orjson.dumps(order) + b"\n")
            pid = await asyncio.wait_for(self._started.get(), _START)
            slot.pid, slot.life, slot.died = pid, life, asyncio.get_running_loop().create_future()
            self._of[pid] = slot
            slot.started.set()

    async def stop(self) -> list[int]:
        """Tell all to end, as an operator would, and start none again. Returns how each ended."""
        self._restart = False
        return [await self._stop(slot) for slot in self.slots if slot.alive]

    async def _stop(self, slot: Slot) -> int:
        slot.signal(signal.SIGCONT)
        slot.signal(signal.SIGTERM)
        if not await slot.ended_within(_GRACE):
            slot.signal(signal.SIGKILL)
        assert slot.died is not None
        return await slot.died

    async def renew(self, slot: Slot) -> None:
        """End this one in order; whoever watches starts the next."""
        await self._stop(slot)
        await slot.started.wait()

    async def ask(self, operation: str, *, patience: float = 60.0, **params: Any) -> dict[str, Any]:
        """Have some process that answers do an operation (`sync`, `link`). Raises NotAtWork."""
        trouble = "none was started"
        path = f"/api/v1/{operation.replace('.', '/')}"
        headers = {"authorization": f"Bearer {self._token}"}
        async with asyncio.timeout(patience * 2), httpx.AsyncClient(trust_env=False, timeout=patience) as client:
            for attempt in range(int(patience / 0.2)):
                slot = self.slots[attempt % len(self.slots)]
                try:
                    answer = await client.post(f"http://127.0.0.1:{slot.port}{path}", json=params, headers=headers)
                except httpx.HTTPError as error:
                    trouble = f"{type(error).__name__} {error}"
                else:
                    if answer.status_code == 200:
                        done: dict[str, Any] = answer.json()
                        return done
                    trouble = answer.text
                await asyncio.sleep(0.2)
        raise NotAtWork(f"{operation} {params}: {trouble}")

    async def watch(self) -> None:
        """Hear from the nursery, and start again at once whatever has ended."""
        assert self._nursery.stdout is not None
        async for line in self._nursery.stdout:
            told = orjson.loads(line)
            if "started" in told:
                self._started.put_nowait(told["started"])
            elif "ended" in told:
                task = asyncio.create_task(self._ended(told["ended"], told["status"]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _ended(self, pid: int, status: int) -> None:
        async with self._starting:  # it may end before its start has been noted
            slot = self._of.pop(pid)
        assert slot.died is not None
        self.deaths.append(Death(pid, slot.life, status))
        slot.started.clear()
        slot.died.set_result(status)
        if self._restart:
            await self.start(slot, self.next_life(slot))


@contextlib.asynccontextmanager
async def hubs(project: Path, ports: Sequence[int], token: str, twin: str | None) -> AsyncIterator[Hubs]:
    """The nursery, loaded, with nothing started yet. All of it ends with the block."""
    command = [sys.executable, "-m", "tests.chaos.child", *(["--twin", twin] if twin else [])]
    with (project / "nursery.log").open("wb") as log:
        nursery = await asyncio.create_subprocess_exec(
            *command,
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    watching: asyncio.Task[None] | None = None
    try:
        if not await asyncio.wait_for(nursery.stdout.readline(), _START):
            raise NotAtWork((project / "nursery.log").read_text())
        found = Hubs(nursery, project, ports, token)
        watching = asyncio.create_task(found.watch())
        yield found
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        nursery.stdin.close()
        await nursery.wait()
