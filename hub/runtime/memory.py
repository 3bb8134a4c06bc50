"""How the process uses memory: the garbage collector, told what kind of program this is."""

from __future__ import annotations

import gc

_YOUNG = 50_000


def keep_collector_quiet() -> None:
    """Call once when a long-running process has loaded its code.

    A batch makes tens of thousands of small objects that die with it and form no cycles. At its default the collector
    walks them every 700 allocations, and now and then everything that was ever imported: a third of the hub's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
