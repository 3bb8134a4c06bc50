"""The catalogue, the translation of descriptions, row pairing, and what the README says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import connectors.crm.fxiaoke as package
from connectors.crm.fxiaoke.connector import FxiaokeConnector
from connectors.crm.fxiaoke.pairing import detail_ids, pair_rows
from connectors.crm.fxiaoke.schema import Stock, field_of, value_of
from connectors.crm.fxiaoke.settings import FxiaokeSettings
from hub.connector.contract import Catalogued, Connector, Finds, Reads, Receives, Writes
from hub.connector.kit import Kit
from hub.connector.readme import with_settings
from hub.domain.record import Record, RowWrite
from hub.domain.schema import Field, FieldType, Wire

FOLDER = Path(package.__file__).parent
CREDENTIALS: dict[str, Any] = {"app_id": "FSAID_1", "app_secret": "top-secret", "permanent_code": "perm-code"}


def catalogue() -> dict[str, Any]:
    return Stock.load().catalogue("Asia/Shanghai", "hub_key__c", {})


def test_the_readmes_settings_are_those_of_the_model() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert with_settings(readme, FxiaokeSettings) == readme


def test_the_readme_states_the_level_of_the_manifest() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"**{FxiaokeConnector.manifest.level}**" in readme
    assert not FxiaokeConnector.manifest.exempt


def test_the_connector_has_the_powers_of_the_contract() -> None:
    connector = FxiaokeConnector(FxiaokeSettings(**CREDENTIALS), Kit.local("crm"))
    for power in (Connector, Catalogued, Reads, Finds, Writes, Receives):
        assert isinstance(connector, power)
    assert "SalesOrderProductObj" in connector.catalogue("SalesOrderObj").fields


def test_the_catalogue_has_what_the_ready_made_flows_use() -> None:
    schemas = catalogue()
    assert set(schemas) == {
        "AccountObj", "ContactObj", "ProductObj", "SalesOrderObj", "SalesOrderProductObj", "PaymentObj",
        "OrderPaymentObj", "QuoteObj", "QuoteLinesObj", "LeadsObj", "PersonnelObj", "DepartmentObj",
    }  # fmt: skip
    wanted = {
        "AccountObj": "tax_no__c credit_limit__c erp_code__c hub_key__c sync__c sync_msg__c",
        "ProductObj": "product_code erp_code__c hub_key__c price unit",
        "QuoteObj": "quote_discount submit_round__c approval_state__c approved_by__c approval_opinion__c hub_key__c",
        "LeadsObj": "mobile company channel__c campaign__c tags__c wecom_id__c hub_key__c",
        "SalesOrderObj": "erp_no__c erp_status__c hub_key__c sync__c sync_msg__c mc_currency SalesOrderProductObj",
        "PaymentObj": "hub_key__c erp_no__c OrderPaymentObj",
    }
    for name, fields in wanted.items():
        assert set(fields.split()) <= set(schemas[name].fields)
        assert all(field.label for field in schemas[name].fields.values())


def test_every_reference_of_the_catalogue_has_a_target() -> None:
    for schema in catalogue().values():
        for field in schema.fields.values():
            assert field.type is not FieldType.REFERENCE or field.reference


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "currency", "decimal_places": 2}, Field("f", FieldType.MONEY, scale=2)),
        ({"type": "percentile", "decimal_places": 1}, Field("f", FieldType.DECIMAL, scale=1)),
        ({"type": "date"}, Field("f", FieldType.DATE, wire=Wire.EPOCH_MS, tz="Asia/Shanghai")),
        ({"type": "date_time"}, Field("f", FieldType.DATETIME, wire=Wire.EPOCH_MS, tz="Asia/Shanghai")),
        ({"type": "time"}, Field("f", FieldType.TIME, wire=Wire.DAY_MS, tz="Asia/Shanghai")),
        ({"type": "employee"}, Field("f", FieldType.REFERENCE, many=True, reference="PersonnelObj")),
        ({"type": "department"}, Field("f", FieldType.REFERENCE, many=True, reference="DepartmentObj")),
        (
            {"type": "object_reference", "target_api_name": "AccountObj", "is_required": True},
            Field("f", FieldType.REFERENCE, reference="AccountObj", required=True),
        ),
        (
            {"type": "select_many", "options": [{"label": "辆", "value": "18"}]},
            Field("f", FieldType.ENUM, many=True, options={"18": "辆"}),
        ),
        (
            {"type": "formula", "decimal_places": 2},
            Field("f", FieldType.DECIMAL, computed=True, readonly=True, scale=2),
        ),
        ({"type": "auto_number"}, Field("f", FieldType.TEXT, computed=True, readonly=True)),
        ({"type": "file_attachment"}, Field("f", FieldType.FILE, many=True)),
        ({"type": "true_or_false"}, Field("f", FieldType.BOOLEAN)),
        ({"type": "phone_number", "max_length": 20}, Field("f", FieldType.PHONE, personal=True, length=20)),
        ({"type": "something_new", "is_unique": True}, Field("f", FieldType.TEXT, unique=True)),
    ],
)
def test_descriptions_become_fields(given: dict[str, Any], expected: Field) -> None:
    assert field_of("f", given, "Asia/Shanghai") == expected


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("number", 12, "12"),
        ("number", "12.50", "12.50"),
        ("currency", "", None),
        ("date_time", "1619422813071", 1619422813071),
        ("employee", "1000", ["1000"]),
        ("employee", [], None),
        ("object_reference", ["65aa"], "65aa"),
        ("true_or_false", "true", True),
        ("group", {"city": "451"}, {"city": "451"}),
        ("select_many", ["18", 19], ["18", "19"]),
    ],
)
def test_values_take_the_hubs_form(kind: str, raw: Any, value: Any) -> None:
    assert value_of(field_of("f", {"type": kind}, "UTC"), raw) == value


@pytest.mark.parametrize(
    "answer",
    [
        {"detailIds": {"T": ["a", "b"]}},
        {"data": {"details": {"T": [{"_id": "a"}, {"_id": "b"}]}}},
        {"T": [{"id": "a"}, {"id": "b"}]},
    ],
)
def test_detail_ids_are_found_wherever_they_stand(answer: dict[str, Any]) -> None:
    assert detail_ids(answer, "T", 2) == ["a", "b"]


@pytest.mark.parametrize("answer", [{}, {"dataId": "1"}, {"T": ["a"]}, {"T": [1, 2]}, {"T": [{}, {}]}])
def test_detail_ids_are_not_made_up(answer: dict[str, Any]) -> None:
    assert detail_ids(answer, "T", 2) is None


def test_rows_that_nobody_can_find_stay_unpaired() -> None:
    detail = catalogue()["SalesOrderProductObj"]
    found = [Record("SalesOrderProductObj", "1", {"quantity": "2.0000", "hub_key__c": None})]
    sent = [RowWrite("a", None, {"quantity": "3"}), RowWrite("b", None, {"quantity": "2"})]
    assert pair_rows(detail, sent, found) == {"b": "1"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "open.fxiaoke.com"},
        {"auth": "body"},
        {"aes_key": "AAAA"},
        {"page_size": 101},
        {"no_such_setting": 1},
        {"errors": [{"kind": "gone"}]},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FxiaokeSettings(**CREDENTIALS, **wrong)


def test_settings_show_no_secret() -> None:
    settings = FxiaokeSettings(**CREDENTIALS, aes_key="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    assert "top-secret" not in f"{settings!r}{settings}"
    assert "perm-code" not in f"{settings!r}{settings}"
    assert "AAECAw" not in f"{settings!r}{settings}"
