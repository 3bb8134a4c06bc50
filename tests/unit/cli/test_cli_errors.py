"""What bad input gets: a sentence, a hint, an exit code; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub.cli import main
from hub.domain.errors import StoreError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUB_PROJECT", raising=False)
    return tmp_path


def test_no_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["status"]) == 2
    told = capsys.readouterr().err
    assert "hub.yaml" in told
    assert "hub init" in told


def test_errors_are_json_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["status", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["exit_code"]) == ("NotFound", 2)
    assert main.run(["status", "--nonsense", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "Usage"


def test_every_problem_of_the_configuration_with_its_place(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "hub.yaml").write_text("systms: {}\nflows:\n  a: {mapping: no.yaml, evry: 5m}\n", encoding="utf-8")
    assert main.run(["status"]) == 2
    told = capsys.readouterr().err
    for part in ("hub.yaml:1:1", "`systems`", "hub.yaml:3:25", "`every`", "no.yaml"):
        assert part in told


def test_a_mistake_of_ours_is_one_sentence_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(main, "app", broken)
    assert main.run(["status"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "RuntimeError" in told
    log = Path("".join(told.split("details are in ")[1].split()).split(";")[0])
    assert "secret inside" in log.read_text()
    log.unlink()


def test_the_store_s_troubles_have_their_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(main, "app", full)
    assert main.run(["status"]) == 4


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", stopped)
    assert main.run(["status"]) == 130


def test_an_unknown_simulator_names_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["sim", "fxiaok"]) == 2
    assert "did you mean `fxiaoke`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["init", "check", "sim", "run", "sync", "status", "runs", "why", "deliveries", "inbox", "ids", "flows", "mapping"],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_init_makes_a_project_that_checks_offline(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "shop"]) == 0
    assert (here / "shop" / ".env").stat().st_mode & 0o077 == 0
    assert main.run(["-p", "shop", "check", "--offline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ok"] is True
    assert main.run(["init", "shop"]) == 2


def test_init_for_real_systems_lists_every_missing_secret(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "shop", "--real"]) == 0
    assert main.run(["-p", "shop", "check"]) == 2
    told = capsys.readouterr().err
    for name in ("CRM_APP_ID", "CRM_APP_SECRET", "ERP_SERVER_URL", "ERP_APP_SECRET"):
        assert f"{name} is not set" in told


def test_the_ready_made_mappings_pass_their_tests(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "shop"]) == 0
    assert main.run(["-p", "shop", "mapping", "test", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["ok"] is True
    assert all(report["mappings"].values())


def test_mappings_are_named_one_by_one_or_by_their_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["init", "shop"]) == 0
    monkeypatch.chdir(here / "shop")
    (here / "shop" / "mappings" / "notes.yaml").write_text("just: notes\n", encoding="utf-8")
    capsys.readouterr()
    assert main.run(["mapping", "test", "mappings", "--json"]) == 0
    folder = json.loads(capsys.readouterr().out)["mappings"]
    assert sorted(folder) == sorted(f"mappings/{file.name}" for file in Path("mappings").glob("[!n]*.yaml"))
    assert main.run(["mapping", "test", "mappings/products.yaml", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)["mappings"]
    assert one == {"mappings/products.yaml": folder["mappings/products.yaml"]}
    (here / "shop" / "empty").mkdir()
    assert main.run(["mapping", "test", "empty"]) == 2
    assert "There are no mappings in the folder empty" in capsys.readouterr().err
    assert main.run(["mapping", "invert", "mappings"]) == 2
    assert "There are 6 mappings in mappings" in capsys.readouterr().err


def test_init_says_where_a_simulator_sends_its_callbacks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "shop"]) == 0
    told = capsys.readouterr().out
    assert "hub sim fxiaoke --port 9001 --callback http://127.0.0.1:8300/hooks/crm &" in told
    assert "hub sim kingdee --port 9002 &" in told
