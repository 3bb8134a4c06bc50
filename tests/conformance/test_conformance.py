"""Every connector's harness against the whole suite, each case on its own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from hub.connector.conformance import Case, Harness, cases, prove, prove_exempt


def harnesses() -> list[Harness]:
    """What `harness_*.py` beside this file give."""
    files = sorted(Path(__file__).parent.glob("harness_*.py"))
    return [import_module(f"tests.conformance.{file.stem}").harness() for file in files]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
@pytest.mark.parametrize("harness", harnesses(), ids=lambda harness: harness.name)
async def test_conformance(harness: Harness, case: Case) -> None:
    reason = harness.manifest.exempt.get(case.name)
    if reason is not None:
        await prove_exempt(harness, case)
        pytest.skip(f"exempt: {reason}")
    await prove(harness, case)


@pytest.mark.parametrize("harness", harnesses(), ids=lambda harness: harness.name)
def test_exemptions_name_cases_that_exist(harness: Harness) -> None:
    assert set(harness.manifest.exempt) <= {case.name for case in cases()}
