"""The settings table of a connector's README, from its settings model, so that the two can't drift."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

BEGIN = "<!-- settings: made from the settings model -->"
END = "<!-- end of settings -->"


def settings_table(model: type[BaseModel]) -> str:
    """A Markdown table: name, default, what it is. Required ones first, each group in the model's order."""
    rows = [
        (
            field.is_required(),
            f"| `{name}` | {_default(field)} | {(field.description or '').replace('|', chr(92) + '|')} |",
        )
        for name, field in model.model_fields.items()
    ]
    body = [line for required in (True, False) for needed, line in rows if needed is required]
    return "\n".join(["| setting | default | what it is |", "| --- | --- | --- |", *body])


def with_settings(readme: str, model: type[BaseModel]) -> str:
    """The README with its settings table made anew between the two marks. Raises ValueError if they are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{settings_table(model)}\n{END}{after}"


def _default(field: Any) -> str:
    secret = " (secret)" if _is_secret(field.annotation) else ""
    if field.is_required():
        return f"required{secret}"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return f"–{secret}"
    return f"`{json.dumps(value, ensure_ascii=False)}`{secret}"


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or (get_origin(annotation) is not None and SecretStr in get_args(annotation))
