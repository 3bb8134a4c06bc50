"""What people write for lengths of time, times of day, dates and sizes, and what the hub counts with."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator

_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\s*)+")
_SIZES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*(b|kb|mb|gb)?", re.IGNORECASE)
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def seconds(text: Any) -> float:
    """`90s`, `5m`, `1h30m`, `2d` as seconds. Raises ValueError with the way to write it."""
    found = _WHOLE.fullmatch(text.strip()) if isinstance(text, str) else None
    total = sum((Decimal(n) * _UNITS[unit] for n, unit in _PART.findall(text)), Decimal(0)) if found else Decimal(0)
    if total <= 0:
        raise ValueError("a length of time looks like 30s, 5m, 2h or 1d")
    return float(total)


def duration(value: float) -> str:
    """Seconds as people write them: `5m`, `1h30m`, `2d`; the inverse of `seconds` for whole seconds."""
    left = round(value)
    if left <= 0:
        return f"{round(value * 1000)}ms"
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def time_of_day(text: Any) -> time | None:
    """`03:00`; `off`, `never` and false for none. Raises ValueError."""
    if text is None or text is False or text in ("off", "never"):
        return None
    found = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise ValueError("a time of day looks like 03:00; `off` for none")
    return time(int(found[1]), int(found[2]))


def byte_count(value: Any) -> int:
    """`512KB`, `1MB`, or a whole number of bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ValueError("a size looks like 512KB or 1MB")
    return int(found[1]) * _SIZES[(found[2] or "").lower()]


def instant(text: str, zone: tzinfo = UTC) -> int:
    """`2026-01-06`, `2026-01-06T10:20` (with or without an offset; else in `zone`) as epoch ms. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a date looks like 2026-01-06 or 2026-01-06T10:20") from None
    return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)


def ago_or_instant(text: str, now: int, zone: tzinfo = UTC) -> int:
    """A moment that a person names on the command line: `2h` (ago) or a date. Epoch ms. Raises ValueError."""
    if _WHOLE.fullmatch(text.strip()):
        return now - int(seconds(text) * 1000)
    try:
        return instant(text, zone)
    except ValueError:
        raise ValueError("name a moment as 2h or 3d (ago), 2026-01-06 or 2026-01-06T10:20") from None


def zone(name: Any) -> ZoneInfo:
    """A time zone by its name. Raises ValueError."""
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone looks like Asia/Shanghai or UTC") from None


def start(value: Any) -> str | None:
    """`now`, or a date as it was written. Raises ValueError."""
    if value is None or value == "now":
        return None if value is None else "now"
    text = value.isoformat() if isinstance(value, date) else str(value)
    instant(text)
    return text


def _zone_name(value: Any) -> str:
    return zone(value).key


Seconds = Annotated[float, BeforeValidator(seconds)]
TimeOfDay = Annotated[time | None, BeforeValidator(time_of_day)]
Bytes = Annotated[int, BeforeValidator(byte_count)]
ZoneName = Annotated[str, BeforeValidator(_zone_name)]
Start = Annotated[str | None, BeforeValidator(start)]
