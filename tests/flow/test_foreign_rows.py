"""Lines that the warehouse adds to an order in the ERP: kept, taken out, or held for a person, as the mapping says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flow.shop import Shop, shop


async def ordered(made: Shop) -> tuple[str, str]:
    """An order of two lines in the ERP, to which the warehouse has added a third; its CRM id and one line's id."""
    products = [await made.product(number) for number in ("M1", "M2")]
    account = await made.account(1)
    await made.sync("customers-to-erp")
    order = await made.order(account, (products[0], "1"), (products[1], "2"))
    assert await made.sync("orders-to-erp") == {"done": 1}
    (document,) = await made.documents()
    freight = {"FMaterialId.FNumber": "M2", "FQty": 9, "FTaxPrice": 1}
    await made.erp.person("update", "SAL_SaleOrder", str(document["FID"]), fields={"FSaleOrderEntry": [freight]})
    assert await quantities(made) == [1, 2, 9]
    line = next(row["_id"] for row in await made.crm.records("SalesOrderProductObj") if float(row["quantity"]) == 2)
    return order, str(line)


async def quantities(made: Shop) -> list[int]:
    (document,) = await made.documents()
    return sorted(int(float(row["FQty"])) for row in document["FSaleOrderEntry"])


@pytest.mark.parametrize(
    ("policy", "left", "state"), [("keep", [1, 5, 9], "done"), ("remove", [1, 5], "done"), ("hold", [1, 2, 9], "held")]
)
async def test_lines_of_the_warehouse(tmp_path: Path, policy: str, left: list[int], state: str) -> None:
    async with shop(tmp_path / "shop", orders_to_erp=("foreign: keep ", f"foreign: {policy} ")) as made:
        _, line = await ordered(made)
        await made.crm.person("update", "SalesOrderProductObj", line, fields={"quantity": "5", "subtotal": "50"})
        assert await made.sync("orders-to-erp") == {state: 1}
        assert await quantities(made) == left


async def test_a_line_gone_from_the_crm_is_taken_out_and_no_other(tmp_path: Path) -> None:
    async with shop(tmp_path / "shop") as made:
        _, line = await ordered(made)
        await made.crm.person("delete", "SalesOrderProductObj", line)
        assert await made.sync("orders-to-erp") == {"done": 1}
        assert await quantities(made) == [1, 9]
