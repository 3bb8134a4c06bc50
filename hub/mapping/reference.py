"""Writes the tables of docs/mapping-language.md from the table of forms, so that the page can't drift."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from hub.domain.errors import InvalidInput
from hub.mapping.forms import FORMS, NORMALISERS, Form

BEGIN = (
    "<!-- forms: written by `python -m hub.mapping.reference docs/mapping-language.md`; edit hub/mapping/forms.py -->"
)
END = "<!-- end of forms -->"

_TITLES = {
    "mapping": ("The file", "Keys of the whole mapping."),
    "source": ("`source:`", "Where records come from."),
    "target": ("`target:`", "Where they go."),
    "related": ("`related:`", "One relation; give either `where` or `id`."),
    "change": ("`when_changes:`", "What counts as a change of one field; empty: any change."),
    "require": ("`require:`", "One demand."),
    "defaults": ("`defaults:`", "What holds for all fields."),
    "value": (
        "A value",
        "What stands at a target field, in `let:` and wherever a value is asked for. It starts in one place (the first "
        "keys) and goes through its steps in one fixed order, whatever the order in the file: "
        "from / first / join / text -> label -> trim, case, split, replace -> null, default -> as -> calc, multiply -> "
        "lookup, ref -> else -> scale, round. A bare text is a path.",
    ),
    "each": ("Rows: `each:`", "A target table made from source rows; give either `fields` or `value`."),
    "fixed": ("Rows: `rows:`", "A target table written out in the mapping."),
    "action": ("`actions:`", "One group of operations."),
    "leaving": ("`on_leave:`, `on_delete:`", "`ignore` (default), `delete`, or one of these."),
    "split": ("`split:`", "Several target records of one source record."),
    "ensure": ("`ensure:`", "What one target field must say when it is read back."),
    "write_back": ("`write_back:`", "What is written into the source."),
    "lookup": ("`lookups:`", "One table: its lines (`KEY: value`) with `else`, or one of these."),
    "test": ("`tests:`", "One test; it expects at least one thing."),
    "given": ("`given:`", "What a test gives."),
}
_KINDS = {
    "text": "text",
    "flag": "true or false",
    "integer": "a whole number",
    "decimal": "a number",
    "duration": "a time (`90s`, `30m`, `2h`, `1d`)",
    "name": "a name",
    "path": "a path",
    "cel": "CEL",
    "calc": "arithmetic",
    "template": "a template",
    "constant": "a constant",
    "any": "anything",
    "expr": "a value",
    "const_or_expr": "a constant or a value",
    "const_or_path": "a value",
    "rule": "a value or rows",
    "first": "`true`, a path, or a list of values",
    "leaving": "`ignore`, `delete` or a map",
    "write_back": "a key or a constant",
}


def tables() -> str:
    """One table for each section of the language, in Markdown."""
    return "\n".join(_lines())


def written_into(page: str) -> str:
    """The page with its tables made anew. Raises InvalidInput when it lacks the marks between which they stand."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InvalidInput("The page has no place for the tables.", hint=f"put `{BEGIN}` and `{END}` into it")
    return f"{head}{BEGIN}\n\n{tables()}\n{END}{tail}"


def _lines() -> Iterator[str]:
    for name, forms in FORMS.items():
        title, what = _TITLES[name]
        yield f"### {title}"
        yield ""
        yield what
        yield ""
        yield "| key | takes | meaning | example |"
        yield "| --- | --- | --- | --- |"
        for form in forms:
            required = " **(required)**" if form.required else ""
            example = f"`{_cell(form.example)}`" if form.example else ""
            yield f"| `{form.key}` | {_takes(form.kind, form)} | {_cell(form.meaning)}{required} | {example} |"
        yield ""
    yield f"Normalisers for `match:` are {', '.join(f'`{name}`' for name in NORMALISERS)}."
    yield ""


def _takes(kind: str, form: Form) -> str:
    head, _, rest = kind.partition(":")
    match head:
        case "list":
            return f"a list: {_takes(rest, form)}"
        case "one_or_list":
            return f"{_takes(rest, form)}, or a list"
        case "map":
            return f"a map by name: {_takes(rest, form)}"
        case "section":
            return f"a map ({_TITLES[rest][0]})"
        case "choice":
            return _choices(form)
        case "choice_or_flag":
            return f"{_choices(form)}, true or false"
        case _:
            return _KINDS[head]


def _choices(form: Form) -> str:
    return ", ".join(f"`{choice}`" for choice in form.choices)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the tables into the pages that are named."""
    for name in arguments:
        page = Path(name)
        page.write_text(written_into(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
