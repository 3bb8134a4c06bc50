"""`hub demo` from end to end: the folder, the stage, the story, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub.cli.demo.stage import Stage, stage
from hub.cli.demo.story import Story
from hub.cli.demo.telling import Teller
from hub.cli.demo.truth import Wrong
from hub.cli.demo.world import World
from hub.cli.output import out, print_json
from hub.domain.errors import InvalidInput

KINDS = ("duplicates", "lost", "stale", "overwritten")


def run(*, seed: int, records: int, folder: Path | None, keep: bool, as_json: bool) -> int:
    """Tell the story; the exit code is 0 if the ground truth says that nothing is wrong. Raises HubError."""
    with _folder(folder, keep) as chosen:
        try:
            return asyncio.run(_play(chosen, seed, records, keep, as_json))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


@contextlib.contextmanager
def _folder(folder: Path | None, keep: bool) -> Iterator[Path]:
    if folder is None and not keep:
        with tempfile.TemporaryDirectory(prefix="hub-demo-") as made:
            yield Path(made)
        return
    chosen = folder or Path("hub-demo")
    if chosen.exists() and any(chosen.iterdir()):
        raise InvalidInput(f"The folder {chosen} is not empty.", hint="name another with --folder, or delete it")
    chosen.mkdir(parents=True, exist_ok=True)
    yield chosen.resolve()


async def _play(folder: Path, seed: int, records: int, keep: bool, as_json: bool) -> int:
    teller = Teller(out(), silent=as_json)
    playing = asyncio.current_task()
    assert playing is not None
    # Told to end, it ends its simulators too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    began = time.monotonic()
    teller.title("A CRM and an ERP become one", f"seed {seed} · {records} records")
    async with stage(folder, teller) as set_up:
        story = Story(set_up, World(seed, records, set_up.crm, set_up.erp))
        wrong = await story.tell()
        told = await _told(set_up, story, wrong, seed, time.monotonic() - began)
        if as_json:
            print_json(told)
        else:
            _close(teller, told)
        if keep:
            await _stay(set_up, teller)
    return 1 if wrong or teller.failed else 0


async def _told(on: Stage, story: Story, wrong: list[Wrong], seed: int, seconds: float) -> dict[str, Any]:
    """The whole run as one object. What is wrong, the writes and the webhooks are counted by the simulators."""
    calls = await on.crm.counts()
    return {
        "flows": await on.books(),
        "identities": (await on.ask("status"))["identities"],
        **{kind: sum(one.kind == kind for one in wrong) for kind in KINDS},
        "webhooks": {"received": calls.get("callback_accepted", 0) + story.accepted, "rejected": story.refused},
        "writes": await on.writes(),
        "seed": seed,
        "seconds": round(seconds, 1),
        "findings": [str(one) for one in wrong[:50]],
        "unproven": on.teller.failed,
    }


def _close(teller: Teller, told: dict[str, Any]) -> None:
    hooks = told["webhooks"]
    teller.blank()
    teller.facts(
        {
            "identities": str(told["identities"]),
            "writes": str(told["writes"]),
            "callbacks": f"{hooks['received']} taken in, {hooks['rejected']} turned away",
            "time": f"{told['seconds']:.0f} s",
        }
    )


async def _stay(on: Stage, teller: Teller) -> None:
    """Leave everything running until somebody ends it."""
    told = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, told.set)
    teller.chapter("Yours to play with; Ctrl-C ends it")
    project = f"hub -p {on.folder}"
    order = (await on.crm.records("SalesOrderObj"))[0]["name"]
    teller.facts(
        {
            "API": f"{on.api}/docs",
            "Fxiaoke": f"{on.crm.base_url}/_sim/records?object=SalesOrderObj",
            "Kingdee": f"{on.erp.base_url}/_sim/records?object=SAL_SaleOrder",
            "where things stand": f"{project} status",
            "one order, end to end": f"{project} why {order}",
            "what is owed": f"{project} deliveries list",
            "the ID map": f"{project} ids find {order}",
            "break something": f'curl -X POST {on.erp.base_url}/_sim/faults -d \'{{"kind": "reset", "times": 5}}\'',
        }
    )
    await told.wait()
