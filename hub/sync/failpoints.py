"""Named places at step boundaries where a test may end the process. Free when unarmed."""

from __future__ import annotations

import os
import signal

NAMES = ("after-claim", "after-intent", "after-send", "before-settle", "after-settle")


def failpoint(name: str) -> None:
    """End this process as a power cut would, if the environment says so: HUB_FAILPOINT=after-send."""
    if os.environ.get("HUB_FAILPOINT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
