"""`hub.yaml`: every mistake at its place, with the nearest right name; secrets never from the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from hub.connector.contract import Level, Manifest
from hub.domain.errors import InvalidInput, NotFound, Problem
from hub.runtime import config as configuration
from hub.runtime.config import Config, find, load, read
from hub.runtime.settings import Role


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = 1


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    base_url: str = Field(description="address of the system")
    app_secret: SecretStr = Field(description="secret of the app")
    timeout: float = 60.0
    style: str = "header"
    nested: Nested = Nested()


class FakeConnector:
    manifest: ClassVar[Manifest] = Manifest("fake", "f", "Fake", "1", "", Level.BRONZE, Settings)


class Installed:
    connectors: ClassVar[list[str]] = ["fake"]

    def connector(self, name: str) -> Any:
        if name != "fake":
            raise NotFound(f"There is no connector `{name}`.", hint="did you mean `fake`?")
        return FakeConnector


GOOD = """\
store: sqlite:///data/hub.db
systems:
  crm:
    connector: fake
    base_url: http://127.0.0.1:9001
    app_secret: ${env:CRM_SECRET}
params: {org: "100"}
flows:
  orders: {mapping: orders.yaml, every: 5m, start: 2026-01-01, first_sight: baseline, create: never, sweep: off}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "orders.yaml").write_text("mapping: orders\n", encoding="utf-8")
    return tmp_path / "hub.yaml"


def problems_of(text: str, file: Path, **environ: str) -> list[Problem]:
    return read(text, file, Installed(), environ)[1]


def loaded(text: str, file: Path, **environ: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return load(file, Installed(), environ)


def test_a_good_file(file: Path) -> None:
    config = loaded(GOOD, file, CRM_SECRET="s3cret")
    settings = config.systems["crm"].settings
    assert isinstance(settings, Settings)
    assert settings.app_secret.get_secret_value() == "s3cret"
    assert config.store_url == f"sqlite:///{file.parent}/data/hub.db"
    assert config.store_file == file.parent / "data/hub.db"
    flow = config.flow("orders")
    assert (flow.settings.every, flow.settings.sweep, flow.settings.create) == (300.0, None, "never")
    assert flow.mapping_place.line == 9
    assert config.warnings == []
    assert "s3cret" not in repr(config)


def test_every_mistake_is_told_with_its_place(file: Path) -> None:
    text = (
        GOOD.replace("base_url", "base_ulr").replace("every: 5m", "every: often").replace("flows:", "flow: 1\nflows:")
    )
    told = {(p.place.line, p.place.column, p.rule) for p in problems_of(text, file, CRM_SECRET="x") if p.place}
    assert told == {(5, 5, "unknown"), (4, 5, "missing"), (8, 1, "unknown"), (10, 41, "value")}


def test_the_nearest_name_is_hinted(file: Path) -> None:
    found = problems_of(GOOD.replace("base_url", "base_ulr"), file, CRM_SECRET="x")
    unknown = next(problem for problem in found if problem.rule == "unknown")
    assert str(unknown) == "hub.yaml:5:5: System `crm` (fake) has no `base_ulr`. (did you mean `base_url`?)"


def test_a_wrong_value_inside_a_nested_section(file: Path) -> None:
    text = GOOD.replace("params:", "    nested: {limit: many, limt: 2}\nparams:")
    told = sorted(str(problem) for problem in problems_of(text, file, CRM_SECRET="x"))
    assert told == [
        "hub.yaml:7:21: `limit` has to be a whole number, not text.",
        "hub.yaml:7:27: `nested` has no `limt`. (did you mean `limit`?)",
    ]


def test_a_wrong_choice_names_the_right_ones(file: Path) -> None:
    [found] = problems_of(GOOD.replace("baseline", "baselien"), file, CRM_SECRET="x")
    assert (found.message, found.hint) == ("`first_sight` can't be `baselien`.", "did you mean `baseline`?")


def test_all_missing_secrets_are_listed_and_nothing_else(file: Path) -> None:
    text = GOOD.replace("http://127.0.0.1:9001", "${file:no/such/file}")
    told = [problem.message for problem in problems_of(text, file)]
    assert len(told) == 2
    assert "CRM_SECRET is not set." in told


def test_secrets_come_from_dotenv_and_files(file: Path) -> None:
    (file.parent / ".env").write_text("# comment\nexport CRM_SECRET='from file'  \n", encoding="utf-8")
    (file.parent / "url").write_text("http://there\n", encoding="utf-8")
    settings: Any = loaded(GOOD.replace("http://127.0.0.1:9001", "${file:url}"), file).systems["crm"].settings
    assert settings.app_secret.get_secret_value() == "from file"
    assert settings.base_url == "http://there"


def test_the_environment_goes_before_dotenv(file: Path) -> None:
    (file.parent / ".env").write_text("CRM_SECRET=old\n", encoding="utf-8")
    settings: Any = loaded(GOOD, file, CRM_SECRET="new").systems["crm"].settings
    assert settings.app_secret.get_secret_value() == "new"


def test_a_secret_in_clear_text_is_a_warning_that_does_not_show_it(file: Path) -> None:
    config = loaded(GOOD.replace("${env:CRM_SECRET}", "hunter2hunter2"), file)
    [warning] = config.warnings
    assert warning.rule == "literal-secret"
    assert "hunter2" not in str(warning)


def test_no_error_shows_a_secret(file: Path) -> None:
    text = GOOD + "api: {host: 0.0.0.0, tokens: [{name: a, role: bos, token: '${env:T}'}]}\n"
    told = " ".join(str(problem) for problem in problems_of(text, file, CRM_SECRET="x", T="hunter2hunter2hunter2"))
    assert "bos" in told
    assert "hunter2" not in told


def test_no_listening_beyond_localhost_without_tokens(file: Path) -> None:
    [found] = problems_of(GOOD + "api: {host: 0.0.0.0}\n", file, CRM_SECRET="x")
    assert "no tokens" in found.message
    token = "t" * 20
    config = loaded(
        GOOD + "api: {host: 0.0.0.0, tokens: [{name: a, token: '${env:T}'}]}\n", file, CRM_SECRET="x", T=token
    )
    assert config.api.tokens[0].role is Role.VIEWER


def test_a_missing_mapping_file(file: Path) -> None:
    [found] = problems_of(GOOD.replace("orders.yaml", "order.yaml"), file, CRM_SECRET="x")
    assert (found.place and found.place.line, found.hint) == (9, "did you mean `orders.yaml`?")


def test_an_unknown_connector(file: Path) -> None:
    [found] = problems_of(GOOD.replace("connector: fake", "connector: fak"), file, CRM_SECRET="x")
    assert found.hint == "did you mean `fake`?"


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just text", "systems: [1]\nflows: 3"])
def test_what_is_no_configuration_at_all_is_refused_in_words(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        load(file, Installed(), {})
    assert caught.value.problems


def test_a_project_may_begin_empty(file: Path) -> None:
    assert loaded("flows: {}", file).flows == {}
    [found] = problems_of("", file)
    assert "has to be a map" in found.message


def test_the_nearest_project_above_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("", encoding="utf-8")
    below = file.parent / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find(None, {}) == file
    assert find(file.parent, {}) == file
    assert find(None, {configuration.PROJECT_VARIABLE: str(file.parent)}) == file
    with pytest.raises(NotFound):
        find(below, {})


def test_a_fleet_and_ingresses_elsewhere(file: Path) -> None:
    text = GOOD + (
        "run: {stop_within: 5s}\n"
        "fleet: {broker: '${env:BROKER}', queue: shop}\n"
        "inbox_from: [{name: dmz, url: 'https://dmz.example.com/', token: '${env:DMZ}'}]\n"
    )
    config = loaded(text, file, CRM_SECRET="x", BROKER="redis://:hidden@127.0.0.1/9", DMZ="hidden too")
    assert (config.run.stop_within, config.fleet.queue) == (5.0, "shop")
    [ingress] = config.inbox_from
    assert (ingress.name, ingress.url, ingress.token.get_secret_value()) == (
        "dmz",
        "https://dmz.example.com",
        "hidden too",
    )
    assert "hidden" not in repr(config)


def test_mistakes_in_a_fleet_are_told_with_their_place(file: Path) -> None:
    text = GOOD + (
        "fleet: {broker: 'nats://127.0.0.1', qeue: shop}\n"
        "inbox_from:\n  - {name: dmz, url: dmz.example.com, token: '${env:CRM_SECRET}'}\n  - {name: dmz}\n"
    )
    told = [str(problem) for problem in problems_of(text, file, CRM_SECRET="x") if not problem.warning]
    assert told == [
        "hub.yaml:10:17: `broker` must start with redis://, rediss://, amqp://, amqps://.",
        "hub.yaml:10:37: `fleet` has no `qeue`. (did you mean `queue`?)",
        "hub.yaml:12:22: `url` must start with https:// (or http:// on a network of your own).",
        "hub.yaml:13:5: `inbox_from` needs `url`.",
        "hub.yaml:13:5: `inbox_from` needs `token`.",
    ]
