"""What the connector says of itself: README, powers, catalogue and sample forms."""

from __future__ import annotations

from pathlib import Path

import pytest

import connectors.dingtalk as package
from connectors.dingtalk.catalogue import sample_forms
from connectors.dingtalk.connector import DingTalkConnector
from connectors.dingtalk.settings import DingTalkSettings
from connectors.dingtalk.simulator import DingTalkSimulator
from hub.connector.contract import Catalogued, Connector, Finds, HasFiles, Reads, Receives, Streams, Writes
from hub.connector.readme import with_settings
from hub.domain.errors import NotFound
from tests.unit.connectors.dingtalk.conftest import Make

README = (Path(package.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_the_readmes_settings_are_those_of_the_model() -> None:
    assert with_settings(README, DingTalkSettings) == README


def test_the_readme_states_the_level_of_the_manifest() -> None:
    assert f"**{DingTalkConnector.manifest.level}**" in README


def test_the_connector_has_the_powers_of_the_contract(connector: DingTalkConnector) -> None:
    for power in (Connector, Catalogued, Reads, Finds, Writes, Receives, Streams, HasFiles):
        assert isinstance(connector, power)


@pytest.mark.parametrize("name", sorted(sample_forms()))
async def test_a_sample_form_is_the_same_from_the_catalogue_and_from_the_system(make: Make, name: str) -> None:
    connector = make()
    described, known = await connector.describe(f"approval:{name}"), connector.catalogue(f"approval:{name}")
    assert (described.fields, described.label) == (known.fields, known.label)
    assert described.capabilities == known.capabilities
    assert (described.origin, known.origin) == ("live", "catalogue")


async def test_objects_are_those_of_the_settings(make: Make) -> None:
    connector = make(
        templates={"discount": "PROC-DISCOUNT-0001"}, robots={"sales": {"token": "t"}, "ops": {"token": "u"}}
    )
    names = [info.name for info in await connector.objects()]
    assert names == ["user", "department", "work_notification", "robot:sales", "robot:ops", "approval:discount"]
    with pytest.raises(NotFound) as missing:
        await connector.describe("approval:discont")
    assert missing.value.hint == "did you mean approval:discount?"


async def test_a_form_whose_code_is_wrong_says_where_to_correct_it(make: Make) -> None:
    connector = make(templates={"discount": "PROC-NONE"})
    with pytest.raises(NotFound) as missing:
        await connector.describe("approval:discount")
    assert "templates" in str(missing.value.hint)
    wrong = [finding for finding in await connector.check() if not finding.ok]
    assert [finding.hint for finding in wrong] == [missing.value.hint]


async def test_a_form_without_a_field_for_the_hubs_key_is_found_wrong(make: Make, simulator: DingTalkSimulator) -> None:
    items = [item for item in sample_forms()["discount"]["items"] if item["props"]["label"] != "集成键"]
    simulator.add_template("bare", "PROC-BARE", "无键", items)
    connector = make(templates={"bare": "PROC-BARE"})
    (wrong,) = [finding for finding in await connector.check() if not finding.ok]
    assert "集成键" in wrong.what
    assert wrong.hint
    schema = await connector.describe("approval:bare")
    assert schema.capabilities.stamp_field is None
    assert schema.facts.repeats_within == 0  # a start without an answer is held, never repeated
    assert (await make().describe("approval:discount")).facts.repeats_within is None


async def test_without_somebody_to_upload_for_there_are_no_files(make: Make) -> None:
    assert not (await make(file_user=None).describe("approval:discount")).capabilities.files
