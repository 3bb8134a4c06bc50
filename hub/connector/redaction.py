"""Taking secrets out of text before a person or a log sees it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_SHORTEST = 4  # shorter 'secrets' would turn messages into stars


class Redactor:
    """Replaces every secret that it knows by `***`, also in its URL-encoded and JSON-escaped spelling."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._spellings: set[str] = set()
        self._ordered: tuple[str, ...] = ()
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        before = len(self._spellings)
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                self._spellings |= {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
        if len(self._spellings) != before:
            # The longest first, so that a secret inside another leaves no tail of it.
            self._ordered = tuple(sorted(self._spellings, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for secret in self._ordered:
            if secret in text:
                text = text.replace(secret, "***")
        return text

    def __repr__(self) -> str:
        return f"Redactor({len(self._ordered)} spellings)"
