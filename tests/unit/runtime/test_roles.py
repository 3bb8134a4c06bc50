"""Which part a process may be, and what it is told when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.domain.errors import HubError, InvalidInput
from hub.runtime.config import Config, load
from hub.runtime.connectors import Installed
from hub.runtime.roles import Part, part_named, refuse_unless_possible, relays

POSTGRES = "store: postgresql://hub@db.example.com/hub\n"
ALONE = "api: {port: 0}\n"
FLOW = "flows:\n  orders: {mapping: orders.yaml}\n"


def config(folder: Path, text: str) -> Config:
    (folder / "orders.yaml").write_text("mapping: orders\n", encoding="utf-8")
    file = folder / "hub.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, Installed({}, {}), {})


@pytest.mark.parametrize("part", ["scheduler", "worker"])
def test_on_sqlite_one_process_does_everything(tmp_path: Path, part: str) -> None:
    with pytest.raises(InvalidInput, match="With SQLite one process does everything") as refused:
        refuse_unless_possible(config(tmp_path, FLOW), Part(part))
    assert "postgresql://" in str(refused.value.hint)
    refuse_unless_possible(config(tmp_path, FLOW), Part.ALL)


def test_on_postgresql_every_part_may_run(tmp_path: Path) -> None:
    for part in Part:
        refuse_unless_possible(config(tmp_path, POSTGRES + FLOW), part)
    assert not relays(config(tmp_path, POSTGRES))


def test_an_ingress_on_sqlite_keeps_an_inbox_of_its_own_and_has_no_flows(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no flows"):
        refuse_unless_possible(config(tmp_path, FLOW), Part.INGRESS)
    refuse_unless_possible(config(tmp_path, ALONE), Part.INGRESS)
    assert relays(config(tmp_path, ALONE))


def test_who_does_not_listen_has_no_port(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="worker does not listen"):
        refuse_unless_possible(config(tmp_path, POSTGRES), Part.WORKER, port=1)
    refuse_unless_possible(config(tmp_path, POSTGRES), Part.INGRESS, port=1)


def test_a_role_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(InvalidInput) as refused:
        part_named("sheduler")
    assert "scheduler" in str(refused.value.hint)
    assert part_named("all") is Part.ALL


def test_celery_without_a_broker_is_told_what_to_write(tmp_path: Path) -> None:
    from hub.runtime.celery_app import carrier_app

    with pytest.raises(InvalidInput, match="names no broker"):
        carrier_app(config(tmp_path, POSTGRES))


def test_celery_that_is_not_installed_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from hub.runtime.celery_app import carrier_app

    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(HubError, match="not installed") as refused:
        carrier_app(config(tmp_path, POSTGRES + "fleet: {broker: redis://127.0.0.1:6379/9}\n"))
    assert "[fleet]" in str(refused.value.hint)
