"""The connector guide lists every rule, and cannot drift from the cases."""

from __future__ import annotations

from pathlib import Path

from hub.connector.conformance import rules
from hub.connector.faults import FaultKind

GUIDE = Path(__file__).parents[2] / "docs" / "connectors.md"
BEGIN, END = "<!-- rules: made from the cases -->\n", "<!-- end of rules -->"


def test_the_guide_lists_the_rules_of_the_suite() -> None:
    written = GUIDE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert written == f"{rules()}\n", "write the output of hub.connector.conformance.rules() between the marks"


def test_the_guide_names_every_fault() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert [kind for kind in FaultKind if f"`{kind.value}`" not in text] == []
