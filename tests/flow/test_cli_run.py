"""The hub as its users have it: processes and sockets, from `hub init` to a synced record and a stop without loss."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

HUB = [sys.executable, "-c", "from hub.cli.main import main; main()"]
ENVIRON = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
ACCOUNT = {"name": "上海自动化有限公司", "tax_no__c": "91310000MA1K00001X", "tel": "13800138000", "owner": ["1000"]}


class Desk:
    """A project, its two simulators and a hub, all as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.crm = self.erp = self.api = ""

    def hub(self, *arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [*HUB, "-p", str(self.folder), *arguments, "--json"],
            env=ENVIRON,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def start(self, *arguments: str) -> Any:
        process = subprocess.Popen(
            [*HUB, "-p", str(self.folder), *arguments], env=ENVIRON, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{arguments} did not start"
        return json.loads(line)

    def run(self) -> subprocess.Popen[str]:
        self.api = self.start("run", "--port", "0", "--json")["api"]
        return self.processes[-1]

    def post(self, url: str, body: Any) -> Any:
        answer = httpx.post(url, content=json.dumps(body), trust_env=False, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def erp_customers(self) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.erp}/_sim/records", params={"object": "BD_Customer"}, trust_env=False, timeout=10)
        found: list[dict[str, Any]] = answer.json()["records"]
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "shop")
    subprocess.run([*HUB, "init", str(made.folder)], env=ENVIRON, check=True, capture_output=True)
    made.crm = made.start("sim", "fxiaoke", "--settings")["base_url"]
    made.erp = made.start("sim", "kingdee", "--settings")["base_url"]
    file = made.folder / "hub.yaml"
    text = re.sub("http://127.0.0.1:9001", made.crm, file.read_text(encoding="utf-8"))
    file.write_text(re.sub("http://127.0.0.1:9002", made.erp, text), encoding="utf-8")
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            process.terminate()
        for process in made.processes:
            process.communicate(timeout=30)


def until(what: Any, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


def test_from_a_callback_to_the_erp_and_a_stop_without_loss(desk: Desk) -> None:
    assert desk.hub("check")["ok"] is True
    process = desk.run()
    assert httpx.get(f"{desk.api}/health/live", trust_env=False).status_code == 200
    desk.post(f"{desk.crm}/_sim/callback", {"url": f"{desk.api}/hooks/crm"})
    desk.post(f"{desk.crm}/_sim/change", {"op": "create", "object": "AccountObj", "fields": ACCOUNT})
    until(desk.erp_customers)

    # The hub owns the store: commands are handed to it, and say so by working.
    status = until(lambda: _done(desk))
    assert status["running"] is True
    assert status["inbox"] == {"handled": until(lambda: len(desk.hub("inbox", "list")["items"]))}
    [line] = desk.hub("deliveries", "list", "--flow", "customers-to-erp")["items"]
    shown = desk.hub("deliveries", "show", line["id"])
    assert "13800138000" not in json.dumps(shown)
    assert desk.hub("deliveries", "retry", code=2)["error"]["kind"] == "InvalidInput"
    assert desk.hub("flows", "pause", "products", "--why", "stock-taking")["paused"] is True
    assert desk.hub("sync", "customers-to-erp")["flow"] == "customers-to-erp"

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert not (desk.folder / "hub.db.key").exists()

    # Nobody owns it now: the same commands open it themselves.
    status = desk.hub("status")
    assert status["running"] is False
    assert next(flow for flow in status["flows"] if flow["name"] == "products")["paused"] is True
    assert len(desk.erp_customers()) == 1


def _done(desk: Desk) -> Any:
    status = desk.hub("status")
    flow = next(flow for flow in status["flows"] if flow["name"] == "customers-to-erp")
    return status if flow["states"] == {"done": 1} else None


def test_a_forged_callback_changes_nothing(desk: Desk) -> None:
    desk.run()
    answer = httpx.post(f"{desk.api}/hooks/crm", content=b'{"forged": true}', trust_env=False)
    assert answer.status_code in (400, 401)
    assert desk.hub("inbox", "list")["items"] == []


def test_the_api_guards_and_describes_itself(desk: Desk) -> None:
    desk.run()
    paths = httpx.get(f"{desk.api}/openapi.json", trust_env=False).json()["paths"]
    assert "get" in paths["/api/v1/deliveries/list"]
    assert "post" in paths["/api/v1/deliveries/retry"]
    borrowed = httpx.get(f"{desk.api}/api/v1/status", headers={"host": "evil.example"}, trust_env=False)
    assert borrowed.status_code == 403
    assert borrowed.headers["content-type"] == "application/problem+json"
    link = httpx.post(f"{desk.api}/api/v1/ids/link", json={"a": "crm:A:1", "b": "erp:B:2"}, trust_env=False)
    assert link.status_code == 403  # an operator is no engineer


def test_a_port_that_is_taken(desk: Desk) -> None:
    port = desk.crm.rpartition(":")[2]
    assert "can't listen" in desk.hub("run", "--port", port, code=2)["error"]["message"]
