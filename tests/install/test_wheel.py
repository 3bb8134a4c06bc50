"""The hub as it is installed: the wheel alone, in an environment and a folder that know nothing of this repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MATERIAL = {
    "FNumber": "M001", "FName": "伺服电机", "F_HUB_PRICE": "1200", "FBaseUnitId.FNumber": "Pcs",
    "FCreateOrgId.FNumber": "100", "FUseOrgId.FNumber": "100",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


class Installed:
    """An environment with the wheel in it. Dependencies come from this one, by path: no registry is asked."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.hub = folder / "bin" / "hub"
        site = next((folder / "lib").glob("python*")) / "site-packages"
        # Folders that a .pth names are not looked through for further .pth files: the editable hub stays out of sight.
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        with zipfile.ZipFile(wheel) as content:
            content.extractall(site)
        # What an installer makes of `[project.scripts]`.
        self.hub.write_text(f"#!{folder}/bin/python\nfrom hub.cli.main import main\nmain()\n", encoding="utf-8")
        self.hub.chmod(0o755)
        self.site = site
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HUB_", "VIRTUAL"))}
        self.environ = {**kept, "NO_COLOR": "1"}
        self.processes: list[subprocess.Popen[str]] = []

    def run(self, folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.hub), *arguments], cwd=folder, env=self.environ, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, folder: Path, *arguments: str) -> Any:
        """A command that goes on; its first line, which is JSON."""
        process = subprocess.Popen(
            [str(self.hub), *arguments], cwd=folder, env=self.environ, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        return json.loads(process.stdout.readline())

    def end(self) -> None:
        for process in self.processes:
            process.terminate()
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    made = Installed(tmp_path_factory.mktemp("venv"), wheel)
    yield made
    made.end()


def test_the_wheel_holds_all_that_the_tree_holds(wheel: Path) -> None:
    """Catalogues, code tables and mappings are files: a build that forgets one works at its builder's alone."""
    kept = {".py", ".yaml", ".toml", ".csv", ".xml", ".wsdl", ".html", ".css", ".js"}
    listed = subprocess.run(
        ["git", "ls-files", "hub", "connectors", "mappings"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    wanted = {name for name in listed.stdout.split("\n") if Path(name).suffix in kept and (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as content:
        held = set(content.namelist())
    assert len(wanted) > 100
    assert wanted - held == set()
    assert not any(name.startswith(("tests/", "bench/")) for name in held)


def test_the_installed_hub_is_the_wheel_and_not_this_tree(installed: Installed, tmp_path: Path) -> None:
    asked = "import hub, connectors, mappings; print(hub.__file__, connectors.__path__[0], mappings.__path__[0])"
    done = subprocess.run(
        [str(installed.hub.parent / "python"), "-c", asked],
        cwd=tmp_path, env=installed.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(path.startswith(str(installed.site)) for path in done.stdout.split())


@pytest.mark.timeout(600)  # ten starts of the command line, on machines that do much else
def test_from_init_to_a_synced_record_without_the_repository(installed: Installed, tmp_path: Path) -> None:
    installed.run(tmp_path, "init", "shop")
    shop = tmp_path / "shop"
    assert json.loads(installed.run(shop, "check", "--offline", "--json"))["ok"]
    assert json.loads(installed.run(shop, "mapping", "test", "--json"))["ok"]
    crm = installed.start(shop, "sim", "fxiaoke", "--settings")["base_url"]
    erp = installed.start(shop, "sim", "kingdee", "--settings")["base_url"]
    text = re.sub("http://127.0.0.1:9001", crm, (shop / "hub.yaml").read_text(encoding="utf-8"))
    (shop / "hub.yaml").write_text(re.sub("http://127.0.0.1:9002", erp, text), encoding="utf-8")
    assert json.loads(installed.run(shop, "check", "--json"))["ok"]
    body = {"op": "create", "object": "BD_MATERIAL", "fields": MATERIAL}
    assert httpx.post(f"{erp}/_sim/change", json=body, trust_env=False).status_code == 200
    assert json.loads(installed.run(shop, "sync", "products", "--json"))["states"] == {"done": 1}
    found = json.loads(installed.run(shop, "ids", "find", "M001", "--json"))["items"]
    assert {one["system"] for one in found} == {"crm", "erp"}
