"""`hub tables` at the keyboard: what it does, and what it says to bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main

MAPPING = """
mapping: m
entity: customer
source: {system: crm, object: AccountObj}
target: {system: erp, object: BD_Customer}
fields: {FName: name, FNote: {lookup: tax, from: [country, class], take: rate}}
lookups: {tax: {table: tax, keys: [country, class]}}
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.delenv("HUB_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main.run(["init", "shop"]) == 0
    folder = tmp_path / "shop"
    (folder / "mappings" / "m.yaml").write_text(MAPPING, encoding="utf-8")
    with (folder / "hub.yaml").open("a", encoding="utf-8") as file:
        file.write("  taxed: {mapping: mappings/m.yaml}\n")
    monkeypatch.chdir(folder)
    capsys.readouterr()
    return folder


def hub(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main.run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def message(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    error = hub(capsys, *arguments, code=2)["error"]
    return " ".join([error["message"], error.get("hint") or "", *(str(one) for one in error.get("problems", []))])


def test_rows_come_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert hub(capsys, "tables", "list")["items"] == [
        {"table": "tax", "rows": 0, "keys": ["country", "class"], "flows": ["taxed"], "wanted": 0}
    ]
    added = hub(capsys, "tables", "set", "tax", "CN", "A", "--set", "rate=13", "--set", "name=标准")
    assert added == {"changed": 1, "removed": 0, "woken": 0}
    rows = [{"key": ["CN", "A"], "value": {"name": "标准", "rate": "13"}}]
    assert hub(capsys, "tables", "show", "tax")["rows"] == rows
    assert main.run(["tables", "show", "tax"]) == 0
    assert "标准" in capsys.readouterr().out
    assert hub(capsys, "tables", "remove", "tax", "CN", "A")["removed"] == 1
    assert hub(capsys, "tables", "show", "tax")["rows"] == []


def test_what_is_exported_can_be_imported(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("A", "B", "C"):
        hub(capsys, "tables", "set", "tax", "CN", key, "--set", f"rate={ord(key)}")
    assert main.run(["tables", "export", "tax", "tax.csv"]) == 0
    text = (shop / "tax.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines() == ["country,class,rate", "CN,A,65", "CN,B,66", "CN,C,67"]
    (shop / "tax.csv").write_text("country,class,rate\nCN,A,13\nCN,D,9\n", encoding="utf-8")
    capsys.readouterr()
    assert hub(capsys, "tables", "import", "tax", "tax.csv") == {"changed": 2, "removed": 0, "woken": 0}
    assert hub(capsys, "tables", "import", "tax", "tax.csv", "--replace")["removed"] == 2
    assert [row["key"][1] for row in hub(capsys, "tables", "show", "tax")["rows"]] == ["A", "D"]


def test_a_table_of_single_values(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (shop / "mappings" / "m.yaml").read_text(encoding="utf-8").replace("[country, class]", "[country]")
    (shop / "mappings" / "m.yaml").write_text(text, encoding="utf-8")
    assert hub(capsys, "tables", "set", "tax", "CN", "--value", "13")["changed"] == 1
    assert main.run(["tables", "export", "tax"]) == 0
    assert capsys.readouterr().out.splitlines() == ["country,value", "CN,13"]
    (shop / "tax.csv").write_text("country,value\nCN,16\n", encoding="utf-8")
    assert hub(capsys, "tables", "import", "tax", "tax.csv")["changed"] == 1
    assert hub(capsys, "tables", "show", "tax")["rows"] == [{"key": ["CN"], "value": "16"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "tx", "CN", "A", "--value", "1"], "did you mean `tax`?"),
        (["set", "tax", "CN", "--value", "1"], "tax has the key country, class, and 1 are given"),
        (["set", "tax", "CN", "A"], "either `--value` or columns"),
        (["set", "tax", "CN", "A", "--set", "rate"], "`--set rate` is not COLUMN=VALUE"),
        (["set", "tax", "CN", "A", "--set", "rate=1", "--value", "2"], "either `--value` or columns"),
        (["remove", "tax", "CN", "A"], "tax has no row CN A; nothing was removed"),
        (["show", "nothing"], "There is no lookup table `nothing`"),
        (["import", "tax", "no.csv"], "There is no file no.csv"),
        (["export", "tax", "no/folder.csv"], "can't be written"),
    ],
)
def test_bad_input_gets_a_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in message(capsys, "tables", *arguments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks the column country, class"),
        ("country,rate\nCN,1\n", "lacks the column class"),
        ("country,class\nCN,A\n", "needs columns of different names besides the key"),
        ("country,class,rate\nCN,A,1,2\n", "has not the 3 columns"),
        ("country,class,rate\nCN,A\n", "has not the 3 columns"),
        ("country,class,rate\nCN,,1\n", "`class` is empty"),
        ("country,class,rate\nCN,A,1\nCN,A,2\n", "Two rows have the same key: CN A"),
    ],
)
def test_a_broken_file_changes_nothing(shop: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "tax.csv").write_text(text, encoding="utf-8")
    assert said in message(capsys, "tables", "import", "tax", "tax.csv")
    (shop / "bytes.csv").write_bytes(b"country,class,rate\n\xff\xfe,A,1\n")
    assert "can't be read as CSV" in message(capsys, "tables", "import", "tax", "bytes.csv")
    assert hub(capsys, "tables", "show", "tax")["rows"] == []
