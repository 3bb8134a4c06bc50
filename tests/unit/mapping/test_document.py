"""YAML with places: what is text, what is a number, what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hub.domain.errors import Place, Problem
from hub.mapping.document import MAX_DEPTH, Node, parse, scalar


def read(text: str) -> tuple[Node | None, list[Problem]]:
    problems: list[Problem] = []
    return parse(text, "f.yaml", problems), problems


def plain(text: str) -> object:
    node, problems = read(text)
    assert not problems
    assert node is not None
    return node.plain()


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "NO", "y", "0012", "1e3", ".5", "1_000", "2026-01-06", "0x1F", "1:30"]
)
def test_what_older_yaml_takes_for_something_else_is_text(word: str) -> None:
    assert scalar(word) == word


def test_scalars_of_the_core_schema() -> None:
    made = plain("{a: 1, b: -12, c: 1.50, d: true, e: null, f: ~, g: '1', h: \"true\", i: }")
    assert made == {
        "a": 1, "b": -12, "c": Decimal("1.50"), "d": True, "e": None, "f": None, "g": "1", "h": "true", "i": None,
    }  # fmt: skip
    assert str(made["c"]) == "1.50"  # type: ignore[index]


def test_numeric_keys_are_text() -> None:
    assert plain("{1001: '100', 007: x}") == {"1001": "100", "007": "x"}


def test_a_key_that_stands_twice_is_told_with_both_lines() -> None:
    _, problems = read("a: 1\nb: 2\na: 3\n")
    assert [str(problem) for problem in problems] == ["f.yaml:3:1: `a` stands here twice. (the first is on line 1)"]


def test_anchors_aliases_and_tags_are_refused_all_at_once() -> None:
    _, problems = read("a: &x [1]\nb: *x\nc: !!python/object/apply:os.system ['true']\n")
    assert [problem.rule for problem in problems] == ["alias", "alias", "tag"]


def test_an_entity_bomb_is_refused_without_growing() -> None:
    levels = "\n".join(f"k{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))
    node, problems = read(f"k0: &a0 [x]\n{levels}\n")
    assert node is not None
    assert sum(1 for _ in node.walk()) < 200
    assert problems


def test_nesting_is_bounded() -> None:
    node, problems = read("[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5))
    assert node is None
    assert problems[0].rule == "depth"


@pytest.mark.parametrize("text", ["a: [1\nb", "a: 'x", "\tb: 1", "a: b: c", "{a", "a: \x00"])
def test_what_is_no_yaml_is_one_problem_and_never_an_exception(text: str) -> None:
    node, problems = read(text)
    assert node is None
    assert len(problems) == 1
    assert "not YAML" in problems[0].message


def test_a_second_document_is_a_problem() -> None:
    _, problems = read("a: 1\n---\nb: 2\n")
    assert [problem.rule for problem in problems] == ["documents"]


def test_places_of_keys_and_items() -> None:
    node, _ = read("a:\n  b: [x, {c: 1}]\n")
    assert node is not None
    assert node.place_at("a", "b") == Place("f.yaml", 2, 3)
    assert node.place_at("a", "b", 1, "c") == Place("f.yaml", 2, 11)
    assert node.place_at("a", "nowhere") == Place("f.yaml", 1, 1)
    found = node.at("a", "b", 0)
    assert found is not None
    assert found.value == "x"
    assert node.at("a", "b", 9) is None
