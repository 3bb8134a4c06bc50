"""The reference page is in step with the language, and its example is a real mapping."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.domain.errors import InvalidInput
from hub.mapping.forms import FORMS
from hub.mapping.load import load
from hub.mapping.reference import BEGIN, END, tables, written_into
from hub.mapping.testing import run_tests

PAGE = Path(__file__).parents[3] / "docs" / "mapping-language.md"


def test_the_page_is_in_step_with_the_forms() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written_into(page), "run `python -m hub.mapping.reference docs/mapping-language.md`"


def test_every_form_is_explained() -> None:
    made = tables()
    for forms in FORMS.values():
        for form in forms:
            assert f"| `{form.key}` |" in made
            assert form.meaning.replace("|", "\\|") in made


def test_every_row_has_four_cells() -> None:
    for line in tables().splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line


def test_what_stands_around_the_tables_is_kept() -> None:
    page = written_into(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "\nold\n" not in page


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no place"):
        written_into("nothing here")


def examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_of_the_page_load_and_their_tests_pass() -> None:
    whole = [text for text in examples() if "\nmapping: " in f"\n{text}"]
    assert whole
    for text in whole:
        reports = run_tests(load(text, PAGE.name))
        assert reports
        assert [report.differences for report in reports if not report.passed] == []
