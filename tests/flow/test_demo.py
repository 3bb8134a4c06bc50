"""`hub demo --json` as a user starts it: one JSON object, books that balance, and nothing wrong by ground truth."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

STATES = ["done", "unchanged", "filtered", "waiting", "blocked", "held", "dead"]


@pytest.mark.timeout(300)
def test_the_demo_ends_with_zeros_and_balanced_books() -> None:
    command = [sys.executable, "-c", "from hub.cli.main import main; main()"]
    ran = subprocess.run(
        [*command, "demo", "--json", "--records", "40", "--seed", "3"], capture_output=True, text=True, timeout=280
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(ran.stdout.splitlines()) == 1
    told = json.loads(ran.stdout)
    assert {kind: told[kind] for kind in ("duplicates", "lost", "stale", "overwritten")} == {
        "duplicates": 0,
        "lost": 0,
        "stale": 0,
        "overwritten": 0,
    }
    assert len(told["flows"]) == 6
    for flow, book in told["flows"].items():
        assert list(book) == ["captured", *STATES]
        assert book["captured"] == sum(book[state] for state in STATES) > 0, flow
    assert told["webhooks"]["received"] > 0
    assert told["webhooks"]["rejected"] == 4
    assert told["identities"] > 0
    assert told["seed"] == 3
