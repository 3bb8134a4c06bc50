"""A setting that is a map of secrets: each has an environment variable of its own."""

from __future__ import annotations

from pathlib import Path

from hub.runtime.config import load
from hub.runtime.connectors import Installed
from hub.runtime.scaffold import scaffold


def test_each_secret_of_a_map_stands_in_the_environment_alone(tmp_path: Path) -> None:
    installed = Installed.here()
    scaffold(tmp_path, "wecom-fxiaoke", installed, simulated=True)
    text = (tmp_path / "hub.yaml").read_text(encoding="utf-8")
    key = installed.simulator("wecom")().settings()["robots"]["sales"]
    assert 'robots: {sales: "${env:WECOM_ROBOTS_SALES}"}' in text
    assert key not in text
    assert f"WECOM_ROBOTS_SALES={key}" in (tmp_path / ".env").read_text(encoding="utf-8").splitlines()
    assert load(tmp_path / "hub.yaml", installed).systems.keys() == {"crm", "wecom"}
