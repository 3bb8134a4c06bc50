"""The catalogue and its layout fit together, the README says what the code does, and values keep their exactness."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from connectors.erp.kingdee import connector
from connectors.erp.kingdee.catalogue import load_forms
from connectors.erp.kingdee.connector import KingdeeConnector
from connectors.erp.kingdee.settings import KingdeeSettings
from connectors.erp.kingdee.values import decimal_text, epoch_ms, from_cell, head_model, local_time, quoted
from hub.connector.contract import Catalogued, Connector, Finds, Reads, Receives, Writes
from hub.connector.kit import Kit
from hub.connector.readme import with_settings
from hub.domain.schema import Field, FieldType, Wire

FOLDER = Path(connector.__file__).parent
CREDENTIALS = {
    "server_url": "https://erp.example.com/k3cloud",
    "acct_id": "6512f0a1b2c3d4",
    "username": "crmhub",
    "app_id": "300001_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY",
    "app_secret": "0123456789abcdef0123456789abcdef",
}


def test_the_readme_is_made_from_the_code() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert with_settings(readme, KingdeeSettings) == readme
    assert f"**{KingdeeConnector.manifest.level}**" in readme
    for reason in set(KingdeeConnector.manifest.exempt.values()):
        assert reason in readme


def test_the_connector_has_the_powers_of_the_contract() -> None:
    erp = KingdeeConnector(KingdeeSettings.model_validate(CREDENTIALS), Kit.local("erp"))
    for power in (Connector, Catalogued, Reads, Finds, Writes):
        assert isinstance(erp, power)
    assert not isinstance(erp, Receives)


def test_the_layout_speaks_of_fields_that_there_are() -> None:
    forms = load_forms()
    assert set(forms.layouts) == set(forms.schemas)
    for name, schema in forms.schemas.items():
        layout = forms.layout(name)
        heads = {layout.save_path(field)[0] for field in schema.fields}
        assert set(layout.saved) <= heads, name
        assert {layout.use_org, layout.approved} - {None} <= set(schema.fields), name
        for table, keys in layout.rows_saved.items():
            assert set(keys) <= {row.partition(".")[0] for row in schema.fields[table].rows or {}}, name
        for table, stamp in layout.row_stamp.items():
            assert stamp in (schema.fields[table].rows or {}), name
        assert layout.submits == bool(schema.capabilities.steps), name


def test_names_of_save_and_of_queries() -> None:
    layout = load_forms().layout("SAL_SaleOrder")
    name = "FSaleOrderFinance.FSettleCurrId.FNumber"
    assert layout.query_key(name) == "FSettleCurrId.FNumber"
    assert layout.save_path(name) == ["FSaleOrderFinance", "FSettleCurrId", "FNumber"]
    assert layout.row_query_key("FSaleOrderEntry", "FEntryID") == "FSaleOrderEntry_FEntryID"
    material = load_forms().layout("BD_MATERIAL")
    assert material.query_key("FBaseUnitId.FNumber") == "FBaseUnitId.FNumber"
    assert material.save_path("FBaseUnitId.FNumber") == ["SubHeadEntity", "FBaseUnitId", "FNumber"]


def test_an_order_is_typed_in_from_the_organisation_to_the_currency() -> None:
    forms = load_forms()
    fields: dict[str, Any] = {
        "FNote": "n",
        "FSaleOrderFinance.FSettleCurrId.FNumber": "PRE007",
        "FCustId.FNumber": "C1",
        "FDate": "2024-05-06",
        "FSaleOrderFinance.FExchangeRate": "7.1",
        "FSaleOrgId.FNumber": "100",
    }
    model = head_model(forms.schemas["SAL_SaleOrder"], forms.layout("SAL_SaleOrder"), fields)
    assert list(model) == ["FSaleOrgId", "FDate", "FCustId", "FSaleOrderFinance", "FNote"]
    assert model["FSaleOrderFinance"] == {"FSettleCurrId": {"FNumber": "PRE007"}, "FExchangeRate": "7.1"}


@pytest.mark.parametrize(
    ("text", "scale", "shown"),
    [
        ("1200.0000000000", 2, "1200.00"),
        ("7", 6, "7.000000"),
        ("0.1234567", 6, "0.1234567"),
        ("100.50", None, "100.5"),
        ("1E+3", None, "1000"),
        ("123456789012345678.12", 2, "123456789012345678.12"),
    ],
)
def test_decimals_lose_nothing(text: str, scale: int | None, shown: str) -> None:
    assert decimal_text(text, scale) == shown


def test_cells() -> None:
    assert from_cell(Field("F"), " ") is None
    assert from_cell(Field("F"), " x\ny ") == " x\ny "
    assert from_cell(Field("F", FieldType.DATE), "2024-05-06T00:00:00") == "2024-05-06"
    assert from_cell(Field("F", FieldType.DATETIME), "2025-01-09T12:00:45.52") == "2025-01-09T12:00:45.52"
    assert from_cell(Field("F", FieldType.DATETIME), "0001-01-01T00:00:00") is None
    assert from_cell(Field("F", FieldType.BOOLEAN), "1") is True
    assert from_cell(Field("F", FieldType.BOOLEAN, wire=Wire.AB), "A") == "A"


def test_times_are_the_servers_own() -> None:
    china = ZoneInfo("Asia/Shanghai")
    assert epoch_ms("2025-01-09T12:00:45.053", china) == 1_736_395_245_053
    assert local_time(1_736_395_245_053, china) == "2025-01-09T12:00:45.053"


def test_filters_can_not_be_broken_out_of() -> None:
    assert quoted("o'; drop") == "'o''; drop'"
    with pytest.raises(ValueError, match="control"):
        quoted("a\x00b")


@pytest.mark.parametrize(
    "wrong", [{"server_url": "erp.example.com"}, {"timezone": "Mars"}, {"sessions": 0}, {"sesions": 2}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KingdeeSettings.model_validate({**CREDENTIALS, **wrong})
