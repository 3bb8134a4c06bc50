"""The DingTalk mappings pass the check against both catalogues, and their own tests."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.crm.fxiaoke.schema import Stock
from connectors.dingtalk.connector import DingTalkConnector
from connectors.dingtalk.settings import DingTalkSettings
from hub.connector.kit import Kit
from hub.mapping.check import check_mapping, check_project
from hub.mapping.check_scope import Schemas
from hub.mapping.load import load
from hub.mapping.model import Case, MappingSpec
from hub.mapping.testing import run_tests

FOLDER = Path(__file__).parents[3] / "mappings" / "dingtalk-fxiaoke"
NAMES = (
    "departments",
    "discount-to-crm",
    "discount-to-dingtalk",
    "employees",
    "won-orders-to-group",
    "won-orders-to-people",
)
OBJECTS = ("user", "department", "work_notification", "robot:sales", "approval:discount")


def mapping(name: str) -> MappingSpec:
    path = FOLDER / f"{name}.yaml"
    return load(path.read_text(encoding="utf-8"), path.name)


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    settings = {
        "corp_id": "ding1",
        "client_id": "ding2",
        "client_secret": "secret",
        "templates": {"discount": "PROC-1"},
        "robots": {"sales": {"token": "token"}},
    }
    connector = DingTalkConnector(DingTalkSettings.model_validate(settings), Kit.local("dingtalk"))
    crm = Stock.load().catalogue("Asia/Shanghai", "hub_key__c", {})
    return {
        **{("crm", name): schema for name, schema in crm.items()},
        **{("dingtalk", name): connector.catalogue(name) for name in OBJECTS},
    }


def test_every_file_of_the_folder_is_known_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == list(NAMES)


def test_they_pass_the_check_together(schemas: Schemas) -> None:
    problems = check_project([mapping(name) for name in NAMES], schemas, params=("order_url",))
    assert [str(problem) for problem in problems] == []


def refused(case: Case) -> bool:
    return bool(case.expect_error or case.expect_filtered or case.expect_waiting)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_tests_of_what_travels_and_of_what_does_not(name: str) -> None:
    tests = mapping(name).tests
    assert sum(not refused(case) for case in tests) >= 1
    assert sum(refused(case) for case in tests) >= 1


@pytest.mark.parametrize("name", NAMES)
def test_their_own_tests_pass_and_can_fail(name: str, schemas: Schemas) -> None:
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
    hollow = replace(spec, fields={}, match=(), when=None, require=(), when_changes=())
    assert not all(report.passed for report in run_tests(hollow))


@pytest.mark.parametrize("name", ["employees", "departments"])
def test_people_are_linked_and_never_written(name: str, schemas: Schemas) -> None:
    """A field that could be written would be written into a CRM that takes none: the check says so."""
    spec = mapping(name)
    assert not schemas["crm", spec.target.object].capabilities.update
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").replace(", on: create", "")
    problems = [str(one) for one in check_mapping(load(text, "m.yaml"), schemas)]
    assert any("on: create" in problem for problem in problems)


def test_hub_init_makes_a_project_with_all_of_them_and_their_parameters() -> None:
    pair = tomllib.loads((FOLDER / "pair.toml").read_text(encoding="utf-8"))
    assert sorted(pair["flows"]) == list(NAMES)
    assert sorted(pair["params"]) == ["order_url"]
