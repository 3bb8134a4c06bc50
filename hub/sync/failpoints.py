"""Named places at step boundaries where a test may end or stop the process. Free when unarmed.

`HUB_FAILPOINT` arms one, read once when the process starts: `after-send` ends the process there as a power cut would,
`after-send:3` when it passes for the third time, `after-send:3:stop` stops it (SIGSTOP) instead, until somebody wakes
it (SIGCONT). A name that there isn't fails the start with a sentence, so that a misspelt test can't pass.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

VARIABLE = "HUB_FAILPOINT"

NAMES = (
    "after-schedule-claim",  # a due schedule is ours, nothing has been read
    "before-capture",  # a page or some records were read; inside the transaction, before it commits
    "after-capture",  # they and the cursor are committed
    "after-hints-taken",  # hints of webhooks are ours, nothing has been fetched
    "after-hints-fetched",  # what they named is fetched, nothing of it is written down
    "before-store",  # a webhook has arrived; nothing of it is stored
    "after-store",  # it is stored and not acknowledged
    "after-pull-stored",  # webhooks of an ingress elsewhere are stored here, and still stand there
    "after-claim",  # deliveries are ours
    "before-intent",  # it is decided what leaves; inside the transaction, before it commits
    "after-intent",  # that is written down, nothing has left
    "after-send",  # answers came, nothing of them is written down
    "before-operate",  # a record was written, the operation that its state asks for has not left
    "before-settle",  # outcomes became verdicts
    "in-settle",  # inside the transaction, before it commits
    "after-settle",  # they are committed
    "after-tell",  # the source was told how its record fared, and that is not written down
    "after-told",  # that is committed
)


_strike: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Passing this place: ends or stops the process if it is the armed one, as often as it was told."""
    if _strike is not None:
        _strike(name)


def arm(text: str) -> None:
    """Arm one for the rest of this process's life. Raises ValueError for what it can't be."""
    global _strike
    _strike = _armed(text)


def _armed(text: str) -> Callable[[str], None]:
    name, _, rest = text.partition(":")
    count, _, act = rest.partition(":")
    if name not in NAMES:
        raise ValueError(f"{VARIABLE}={text}: there is no failpoint {name!r}; there are: {', '.join(NAMES)}")
    if act not in ("", "kill", "stop") or (count and not (count.isdigit() and int(count))):
        raise ValueError(f"{VARIABLE}={text}: write NAME, NAME:COUNT or NAME:COUNT:stop, COUNT from 1")
    left = int(count or 1)
    sign = signal.SIGSTOP if act == "stop" else signal.SIGKILL

    def strike(passing: str) -> None:
        nonlocal left
        if passing == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), sign)

    return strike


if os.environ.get(VARIABLE):
    arm(os.environ[VARIABLE])
