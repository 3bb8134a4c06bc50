"""The nursery: a process that has loaded the hub once, and forks real `hub run` processes as it is told.

`python -m tests.chaos.child [--twin NAME]` reads one JSON line a process to start ({"argv", "log", "failpoint",
"clock"}), and writes {"started": pid} and {"ended": pid, "status": n} lines. It exists because loading the hub costs
seconds of a processor, and a chaos run starts it hundreds of times; what is forked goes through the command line's own
`main`, and is killed for good. It ends, with all that it started, when its input ends.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import orjson

from hub.cli.main import main as hub
from hub.domain.clock import SystemClock
from hub.sync import failpoints

_LOADED = (
    "hub.api.serving", "hub.runtime.hub", "hub.runtime.service", "hub.sync.engine", "hub.mapping.compile",
    "hub.mapping.check", "connectors.crm.fxiaoke.connector", "connectors.erp.kingdee.connector", "psycopg",
    "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "aiosqlite", "cel_expr_python",
)  # fmt: skip

LEASE = 6.0  # seconds, of whatever is claimed: a run can't wait two minutes for what a dead process held
WRITE = 3.0  # seconds that a write may take: shorter than the lease, as it has to be


def impatient() -> None:
    """Shorten what is counted in minutes, so that a run of minutes sees it pass. Fails when there is nothing."""
    turns = import_module("hub.runtime.turns")
    assert turns.LEASE > LEASE
    turns.LEASE = LEASE  # type: ignore[attr-defined]
    engine: Any = import_module("hub.sync.engine").Engine.__init__
    assert "lease" in engine.__kwdefaults__
    engine.__kwdefaults__["lease"] = LEASE
    take: Any = import_module("hub.store.hints").take
    assert "lease" in take.__kwdefaults__
    take.__kwdefaults__["lease"] = LEASE
    made: Any = import_module("hub.connector.contract").Write.__init__
    *others, timeout = made.__defaults__
    assert timeout == 60.0
    made.__defaults__ = (*others, WRITE)


def shift_clock(milliseconds: int) -> None:
    """Have this process's wall clock be wrong by so much."""
    now = SystemClock.now
    SystemClock.now = lambda self: now(self) + milliseconds  # type: ignore[method-assign]


def main() -> None:
    options = argparse.ArgumentParser(prog="tests.chaos.child")
    options.add_argument("--twin", help="a protection to take away first")
    twin = options.parse_args().twin
    for name in _LOADED:
        import_module(name)
    impatient()
    if twin:
        import_module("tests.chaos.twins").apply(twin)
    _tell({"ready": True})
    _Nursery().run()


class _Nursery:
    def __init__(self) -> None:
        self._children: set[int] = set()
        self._input = b""

    def run(self) -> None:
        """Until the input ends."""
        wake, ring = os.pipe()
        os.set_blocking(ring, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring)
        while True:
            ready, _, _ = select.select([0, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                self._reap()
            if 0 in ready:
                more = os.read(0, 65536)
                if not more:
                    self._end()
                self._input += more
                *lines, self._input = self._input.split(b"\n")
                for line in lines:
                    self._start(orjson.loads(line))

    def _start(self, order: dict[str, Any]) -> None:
        child = os.fork()
        if child == 0:
            _become(order)
        self._children.add(child)
        _tell({"started": child})

    def _reap(self) -> None:
        for child in tuple(self._children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                self._children.discard(child)
                _tell({"ended": child, "status": os.waitstatus_to_exitcode(status)})

    def _end(self) -> NoReturn:
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os._exit(0)


def _become(order: dict[str, Any]) -> NoReturn:
    """The forked process: its own session and log, its failpoint and clock, and then the command line's main."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    status = 1
    try:
        if order.get("failpoint"):
            failpoints.arm(order["failpoint"])
        if order.get("clock"):
            shift_clock(order["clock"])
        hub(order["argv"])
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _tell(line: dict[str, Any]) -> None:
    os.write(1, orjson.dumps(line) + b"\n")


if __name__ == "__main__":
    main()
