"""Running numbers for targets that have none of their own: `C{yyMM}{0000}` -> `C26110001`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.domain.errors import InvalidInput
from hub.store.tables import sequence

_PLACE = re.compile(r"\{([^{}]*)\}")
_DATES = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d"}
_DATE = re.compile("yyyy|yy|MM|dd")


async def draw(conn: AsyncConnection, pattern: str, now: int, *, tz: str = "UTC") -> str:
    """The next number of `pattern` at `now` (epoch ms), counted in the transaction of `conn`.

    `{yyyy}`, `{yy}`, `{MM}`, `{dd}` (together, as in `{yyMM}`) are the date in `tz`; `{0000}` is the count, at least
    that wide. The count begins at 1 again with each new date. Another transaction that draws from the same sequence
    waits until this one ends: no number is given twice. Raises InvalidInput for a pattern without exactly one count.
    """
    return (await draw_many(conn, pattern, now, 1, tz=tz))[0]


async def draw_many(conn: AsyncConnection, pattern: str, now: int, count: int, *, tz: str = "UTC") -> list[str]:
    """`count` numbers in growing order, by one statement."""
    if count < 1:
        return []
    name, width = _parse(pattern, datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(tz)))
    make = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    statement = (
        make(sequence)
        .values(name=name, value=count)
        .on_conflict_do_update(index_elements=["name"], set_={"value": sequence.c.value + count})
        .returning(sequence.c.value)
    )
    last = (await conn.execute(statement)).scalar_one()
    return [name.replace("{}", str(number).zfill(width)) for number in range(last - count + 1, last + 1)]


def _parse(pattern: str, at: datetime) -> tuple[str, int]:
    """The pattern with its date filled in and `{}` for the count, which names the sequence; and the count's width."""
    widths: list[int] = []

    def fill(match: re.Match[str]) -> str:
        content = match[1]
        if content and set(content) == {"0"}:
            widths.append(len(content))
            return "{}"
        if not content or _DATE.sub("", content):
            raise InvalidInput(
                f"'{{{content}}}' in the running number '{pattern}' is neither a date nor a count.",
                hint="write dates as {yyyy}, {yy}, {MM}, {dd} and the count as {0000}",
            )
        return _DATE.sub(lambda part: at.strftime(_DATES[part[0]]), content)

    name = _PLACE.sub(fill, pattern)
    if len(widths) != 1:
        raise InvalidInput(f"the running number '{pattern}' needs exactly one count.", hint="such as C{yyMM}{0000}")
    return name, widths[0]
