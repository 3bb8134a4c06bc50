"""From configuration to things: partners are found, schemas fall back, personal values are masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hub.domain.errors import InvalidInput, NotFound
from hub.domain.schema import Field, FieldType, ObjectSchema
from hub.runtime.masking import masked
from hub.runtime.operations import OPERATIONS
from hub.runtime.operations.operation import read_params
from hub.runtime.project import pair
from hub.runtime.snapshots import StoredSnapshots
from hub.store.engine import Store


@dataclass
class End:
    system: str
    object: str


@dataclass
class Spec:
    entity: str
    source: End
    target: End


@dataclass
class Partnered:
    partner: Any = None

    def pair_with(self, other: Any) -> None:
        self.partner, other.partner = other, self


def test_two_flows_that_swap_ends_are_partners() -> None:
    specs: Any = {
        "to-erp": Spec("customer", End("crm", "A"), End("erp", "C")),
        "to-crm": Spec("customer", End("erp", "C"), End("crm", "A")),
        "other": Spec("order", End("erp", "C"), End("crm", "A")),
    }
    flows: Any = {name: Partnered() for name in specs}
    pair(flows, specs)
    assert flows["to-erp"].partner is flows["to-crm"]
    assert flows["to-crm"].partner is flows["to-erp"]
    assert flows["other"].partner is None


SCHEMA = ObjectSchema(
    "A",
    "A",
    "id",
    {
        "name": Field("name"),
        "tel": Field("tel", FieldType.PHONE),
        "address": Field("address", personal=True),
        "lines": Field("lines", FieldType.ROWS, rows={"contact": Field("contact", personal=True), "qty": Field("qty")}),
    },
)


def test_personal_values_are_masked_to_their_depths() -> None:
    content = {"name": "ACME", "tel": "13800138000", "address": None, "lines": [{"contact": "张三丰", "qty": "2"}]}
    shown = masked(content, SCHEMA)
    assert shown["name"] == "ACME"
    assert shown["address"] is None
    assert shown["lines"][0]["qty"] == "2"
    assert "138001" not in str(shown)
    assert "张三丰" not in str(shown)


def test_without_a_schema_everything_is_masked() -> None:
    assert "ACME" not in str(masked({"name": "ACME Ltd"}, None))


async def test_a_schema_comes_back_from_its_snapshot_and_drift_is_seen() -> None:
    store = await Store.open("sqlite://")
    try:
        snapshots = StoredSnapshots(store)
        assert await snapshots.find("crm", "A") is None
        assert await snapshots.keep("crm", SCHEMA) is False
        assert await snapshots.keep("crm", SCHEMA) is False
        found = await snapshots.find("crm", "A")
        assert found is not None
        assert (found.origin, found.fields) == ("snapshot", SCHEMA.fields)
        changed = ObjectSchema("A", "A", "id", {"name": Field("name", length=10)})
        assert await snapshots.keep("crm", changed) is True
    finally:
        await store.close()


def test_operations_refuse_what_they_do_not_know() -> None:
    with pytest.raises(NotFound) as unknown:
        OPERATIONS.get("deliveries.lst")
    assert unknown.value.hint == "did you mean `deliveries.list`?"
    with pytest.raises(InvalidInput) as wrong:
        read_params(OPERATIONS.get("deliveries.list"), {"flw": "x", "limit": 0})
    assert len(wrong.value.problems) == 2


def test_what_acts_is_audited_and_never_a_plain_read() -> None:
    for operation in OPERATIONS:
        acts = "why" in operation.params.model_fields
        assert operation.acts or not acts, operation.name
