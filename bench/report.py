"""What every benchmark prints: a table for people, or one JSON object."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Report:
    """One figure beside its limit and its peers, all in `unit`; `peak_mb` is this process's peak memory."""

    name: str
    unit: str
    ours: float
    limit: float
    peers: Mapping[str, float]
    peak_mb: float
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio_to_limit(self) -> float:
        return self.ours / self.limit if self.limit else 0.0


def peak_mb() -> float:
    """The most memory that this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def peak_mb_of(process: int) -> float:
    """The same of another process that is alive (Linux)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def cpu_of(process: int) -> float:
    """Seconds of processor time that another process has used so far (Linux)."""
    stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def print_report(report: Report, *, as_json: bool) -> None:
    """The last line of the JSON form holds the whole figure."""
    if as_json:
        figure = {
            "name": report.name,
            "unit": report.unit,
            "ours": _rounded(report.ours),
            "limit": _rounded(report.limit),
            "peers": {name: round(value, 1) for name, value in report.peers.items()},
            "ratio_to_limit": round(report.ratio_to_limit, 3),
            "peak_mb": round(report.peak_mb, 1),
            **report.extra,
        }
        print(json.dumps(figure, ensure_ascii=False))
        return
    table = Table(title=f"{report.name} ({report.unit})")
    for head in ("what", report.unit, "ours is"):
        table.add_column(head, justify="left" if head == "what" else "right")
    table.add_row("ours", f"{_rounded(report.ours):,}", "")
    table.add_row("the limit", f"{_rounded(report.limit):,}", f"{report.ratio_to_limit:.2f} of it")
    for name, value in report.peers.items():
        table.add_row(name, f"{value:,.0f}", f"{report.ours / value:.1f} times" if value else "")
    for name, value in report.extra.items():
        table.add_row(name, str(value), "")
    table.add_row("peak memory", f"{report.peak_mb:,.0f} MB", "")
    Console().print(table)


def _rounded(value: float) -> float:
    """To what can be read: whole numbers when they are large, three decimals of a ratio."""
    return round(value) if value >= 1000 else round(value, 1) if value >= 10 else round(value, 3)
