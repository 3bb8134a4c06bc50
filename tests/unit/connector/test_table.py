from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.connector.table import Table

IDS = st.integers(1, 30).map(str)
ROWS = st.fixed_dictionaries({"stamp": st.none() | st.integers(0, 5), "name": st.sampled_from(["a", "b", ["x"], None])})
STEPS = st.lists(st.tuples(IDS, st.none() | ROWS), max_size=60)


@given(STEPS, IDS, st.integers(0, 5), st.integers(0, 5))
def test_a_table_answers_as_a_plain_dict_would(
    steps: list[tuple[str, dict[str, Any] | None]], id: str, low: int, high: int
) -> None:
    table, plain = Table(indexed=("name",), ordered=("stamp",), sort=int), dict[str, dict[str, Any]]()
    for key, row in steps:
        if row is None:
            assert table.drop(key) == plain.pop(key, None)
        else:
            before = plain.get(key)
            plain[key] = {"id": key, **row}
            assert table.put(key, plain[key]) == before
    by_id = sorted(plain.values(), key=lambda row: int(row["id"]))
    assert list(table) == by_id
    assert list(table.after(id)) == [row for row in by_id if int(row["id"]) > int(id)]
    stamped = sorted((r for r in by_id if r["stamp"] is not None), key=lambda row: (row["stamp"], int(row["id"])))
    assert list(table.between("stamp", low, high)) == [row for row in stamped if low <= row["stamp"] < high]
    assert list(table.between("stamp")) == stamped
    for name in ("a", ["x"], None):
        found = sorted(table.equal("name", name), key=lambda row: int(row["id"]))
        assert found == [row for row in by_id if row["name"] == name]
    assert len(table) == len(plain)
    assert (id in table) == (id in plain)
