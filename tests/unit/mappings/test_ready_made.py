"""The ready-made mappings pass the check against both catalogues, the editor's schema, and their own tests."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.crm.fxiaoke.schema import Stock
from connectors.erp.kingdee.catalogue import load_forms
from hub.mapping.check import check_mapping, check_project
from hub.mapping.check_scope import Schemas
from hub.mapping.load import load
from hub.mapping.model import Case, MappingSpec
from hub.mapping.testing import run_tests

FOLDER = Path(__file__).parents[3] / "mappings" / "fxiaoke-kingdee"
NAMES = (
    "customers-to-crm",
    "customers-to-erp",
    "order-status-to-crm",
    "orders-to-erp",
    "products",
    "receipts-to-crm",
)
PARAMS = ("org", "order_type", "home_currency", "owner")


def mapping(name: str) -> MappingSpec:
    path = FOLDER / f"{name}.yaml"
    return load(path.read_text(encoding="utf-8"), path.name)


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    crm = Stock.load().catalogue("Asia/Shanghai", "hub_key__c", {})
    erp = load_forms().schemas
    return {
        **{("crm", name): schema for name, schema in crm.items()},
        **{("erp", name): schema for name, schema in erp.items()},
    }


def test_every_file_of_the_folder_is_known_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == list(NAMES)


def test_they_pass_the_check_together(schemas: Schemas) -> None:
    problems = check_project([mapping(name) for name in NAMES], schemas, params=PARAMS)
    assert [str(problem) for problem in problems if not problem.warning] == []
    # A CRM field that holds more than the ERP's is a fact of the two systems: such a text is refused in words, not cut.
    assert [str(problem) for problem in problems if problem.rule != "length"] == []


def refused(case: Case) -> bool:
    return bool(case.expect_error or case.expect_filtered or case.expect_waiting)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_tests_of_what_travels_and_of_what_does_not(name: str) -> None:
    tests = mapping(name).tests
    assert sum(not refused(case) for case in tests) >= 2
    assert sum(refused(case) for case in tests) >= 1


def test_two_way_fields_have_the_owners_that_the_business_gave_them() -> None:
    owners = {
        rule.name: owner
        for name in ("customers-to-crm", "customers-to-erp")
        for rule in mapping(name).fields.values()
        if (owner := getattr(rule.rule, "owner", None))
    }
    assert owners == {
        "name": "crm", "FName": "crm", "tax_no__c": "crm", "FTAXREGISTERCODE": "crm", "tel": "crm", "FTEL": "crm",
        "address": "crm", "FADDRESS": "crm", "credit_limit__c": "erp", "F_HUB_CREDITLIMIT": "erp",
    }  # fmt: skip


def test_nothing_of_one_company_stands_in_them() -> None:
    for name in NAMES:
        for rule in mapping(name).fields.values():
            assert type(getattr(rule.rule, "origin", None)).__name__ != "Const", f"{name}: {rule.name} is a constant"


@pytest.mark.parametrize("name", NAMES)
def test_their_own_tests_pass(name: str, schemas: Schemas) -> None:
    spec = mapping(name)
    related = {key: schemas[spec.source.system, relation.object] for key, relation in spec.related.items()}
    reports = run_tests(
        spec,
        source=schemas[spec.source.system, spec.source.object],
        target=schemas[spec.target.system, spec.target.object],
        related=related,
    )
    assert reports
    assert [(report.name, report.differences) for report in reports if not report.passed] == []


@pytest.mark.parametrize("name", NAMES)
def test_their_own_tests_can_fail(name: str, schemas: Schemas) -> None:
    """Without its fields no mapping passes its own tests."""
    spec = mapping(name)
    hollow = replace(spec, fields={}, match=(), when=None, require=())
    assert not all(report.passed for report in run_tests(hollow))


def test_a_field_that_a_tenant_lacks_is_always_found(schemas: Schemas) -> None:
    """Take any field that a mapping writes out of the target: the check names it, at its own line."""
    for name in NAMES:
        spec = mapping(name)
        key = (spec.target.system, spec.target.object)
        for rule in spec.fields.values():
            fields = {field: shape for field, shape in schemas[key].fields.items() if field != rule.name}
            problems = check_mapping(spec, {**schemas, key: replace(schemas[key], fields=fields)})
            lines = {problem.place.line for problem in problems if problem.place and rule.name in problem.message}
            assert rule.place.line in lines, f"{name}: {rule.name}"


def test_the_check_survives_whatever_is_missing(schemas: Schemas) -> None:
    """Without any one object or field of either side it still ends, and every problem has its place in the file."""
    for name in NAMES:
        spec = mapping(name)
        last = len((FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines())
        sides = {(spec.source.system, spec.source.object), (spec.target.system, spec.target.object)}
        for key in sides:
            without = [{one: shape for one, shape in schemas.items() if one != key}]
            without += [
                {**schemas, key: replace(schemas[key], fields=dict(list(schemas[key].fields.items())[count:]))}
                for count in range(1, len(schemas[key].fields) + 1, 5)
            ]
            for known in without:
                for problem in check_mapping(spec, known):
                    assert problem.place is not None
                    assert 1 <= problem.place.line <= last
                    assert problem.place.column >= 1


def test_hub_init_makes_a_project_with_all_of_them_and_their_parameters() -> None:
    pair = tomllib.loads((FOLDER / "pair.toml").read_text(encoding="utf-8"))
    assert sorted(pair["flows"]) == list(NAMES)
    assert sorted(pair["params"]) == sorted(PARAMS)
