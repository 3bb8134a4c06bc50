"""What is said of a mistake in the hub or in a connector: where it happened, and nothing of the record's content."""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePath

STUMBLED = "mistake"  # the reason of a delivery over which code raised what it should have reported

log = logging.getLogger("hub.engine")


def told(error: Exception, what: str) -> str:
    """A sentence for people; the way there goes to the log. An exception's own words may hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    at = f" at {PurePath(last.filename).name}:{last.lineno}" if last is not None else ""
    way = "".join(traceback.format_list(frames)).rstrip()
    log.error("%s: %s%s\n%s", what, type(error).__name__, at, way)
    return f"a mistake in the hub or a connector ({type(error).__name__}{at}); the log has the way to it"
