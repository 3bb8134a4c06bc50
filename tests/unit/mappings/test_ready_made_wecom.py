"""The ready-made mappings between Fxiaoke and WeCom pass the check against both catalogues, and their own tests."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.crm.fxiaoke.schema import Stock
from connectors.wecom.connector import WeComConnector
from connectors.wecom.settings import WeComSettings
from hub.connector.kit import Kit
from hub.mapping.check import check_mapping, check_project
from hub.mapping.check_scope import Schemas
from hub.mapping.load import load
from hub.mapping.model import Case, MappingSpec
from hub.mapping.testing import run_tests

FOLDER = Path(__file__).parents[3] / "mappings" / "wecom-fxiaoke"
NAMES = (
    "contacts-to-leads",
    "departments-to-crm",
    "employees-to-wecom",
    "order-card",
    "order-robot",
    "quote-approval",
    "quote-approval-result",
)
PARAMS = ("crm_url", "owner")
WECOM = ("member", "department", "external_contact", "message:textcard", "robot:sales", "approval:discount")


def mapping(name: str) -> MappingSpec:
    path = FOLDER / f"{name}.yaml"
    return load(path.read_text(encoding="utf-8"), path.name)


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    settings = WeComSettings.model_validate(
        {
            "corp_id": "ww1",
            "agent_id": 1,
            "secret": "x" * 8,
            "templates": {"discount": "T"},
            "robots": {"sales": "k" * 8},
        }
    )
    wecom = WeComConnector(settings, Kit.local("wecom"))
    crm = Stock.load().catalogue("Asia/Shanghai", "hub_key__c", {})
    return {
        **{("crm", name): schema for name, schema in crm.items()},
        **{("wecom", name): wecom.catalogue(name) for name in WECOM},
    }


def test_every_file_of_the_folder_is_known_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == list(NAMES)


def test_they_pass_the_check_together(schemas: Schemas) -> None:
    problems = check_project([mapping(name) for name in NAMES], schemas, params=PARAMS)
    assert [str(problem) for problem in problems if not problem.warning] == []
    # What the CRM holds and a card or a form can't is a fact of the two systems: it is refused in words, not cut.
    assert [str(problem) for problem in problems if problem.rule != "length"] == []


def refused(case: Case) -> bool:
    return bool(case.expect_error or case.expect_filtered or case.expect_waiting)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_tests_of_what_travels(name: str) -> None:
    tests = mapping(name).tests
    assert len(tests) >= 2
    assert sum(not refused(case) for case in tests) >= 1


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
    assert [(report.name, report.differences) for report in reports if not report.passed] == []


@pytest.mark.parametrize("name", NAMES)
def test_their_own_tests_can_fail(name: str) -> None:
    """Without its fields no mapping passes its own tests."""
    spec = mapping(name)
    hollow = replace(spec, fields={}, match=(), when=None, require=())
    assert not all(report.passed for report in run_tests(hollow))


def test_a_field_that_a_tenant_lacks_is_always_found(schemas: Schemas) -> None:
    for name in NAMES:
        spec = mapping(name)
        key = (spec.target.system, spec.target.object)
        for rule in spec.fields.values():
            fields = {field: shape for field, shape in schemas[key].fields.items() if field != rule.name}
            problems = check_mapping(spec, {**schemas, key: replace(schemas[key], fields=fields)})
            lines = {problem.place.line for problem in problems if problem.place and rule.name in problem.message}
            assert rule.place.line in lines, f"{name}: {rule.name}"


def test_whatever_can_not_be_changed_later_is_written_on_create_alone(schemas: Schemas) -> None:
    """An approval and a message stand as they were sent; an edit of the quote must not become a refused update."""
    for name in NAMES:
        spec = mapping(name)
        if schemas[spec.target.system, spec.target.object].capabilities.update:
            continue
        if spec.target.create == "never" and spec.target.system == "crm":
            continue
        assert all(getattr(rule.rule, "on", None) == "create" for rule in spec.fields.values()), name


def test_hub_init_makes_a_project_with_all_of_them_and_their_parameters() -> None:
    pair = tomllib.loads((FOLDER / "pair.toml").read_text(encoding="utf-8"))
    assert sorted(pair["flows"]) == list(NAMES)
    assert sorted(pair["params"]) == sorted(PARAMS)
