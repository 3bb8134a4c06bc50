"""The forms that the hub knows: their schemas (objects.yaml), and how Kingdee wants their fields put (layout.yaml)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field

from hub.connector.catalogue import Catalogue, load_catalogue

_HERE = Path(__file__).parent


class Layout(BaseModel):
    """How Save and ExecuteBillQuery name what a schema names; the file says what each entry means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    submits: bool = False
    approved: str | None = None
    use_org: str | None = None
    subheads: tuple[str, ...] = ()
    in_subhead: Mapping[str, str] = Field(default_factory=dict)
    saved: tuple[str, ...] = ()
    rows_saved: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    row_stamp: Mapping[str, str] = Field(default_factory=dict)

    def query_key(self, name: str) -> str:
        """The key of a head's field in a query: `FSaleOrderFinance.FBillAllAmount` is `FBillAllAmount` there."""
        head, dot, rest = name.partition(".")
        return rest if dot and head in self.subheads else name

    def row_query_key(self, table: str, name: str) -> str:
        """The same for a field of a table: its own ids and numbers carry the table's name, other fields stand alone."""
        return f"{table}_{name}" if name in ("FEntryID", "FSeq") else name

    def save_path(self, name: str) -> list[str]:
        """Where Save wants a head's field: `FCustId.FNumber` is `{"FCustId": {"FNumber": ...}}`."""
        subhead = self.in_subhead.get(name)
        return [*([subhead] if subhead else []), *name.split(".")]


class Forms(NamedTuple):
    schemas: Catalogue
    layouts: Mapping[str, Layout]

    def layout(self, form: str) -> Layout:
        """A form that the catalogue doesn't know has no peculiarities that we know of."""
        return self.layouts.get(form) or Layout()


def load_forms() -> Forms:
    """Read both files. Raises InvalidInput with what is wrong in them."""
    found = yaml.safe_load((_HERE / "layout.yaml").read_text(encoding="utf-8"))
    layouts = {form: Layout.model_validate(body) for form, body in found.items()}
    return Forms(load_catalogue(_HERE / "objects.yaml"), layouts)
