"""An ingress in a DMZ keeps an inbox of its own, which the inner hub empties; whoever is killed in between."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.fleet import ENVIRON, HUB, customer, names, ready, until

pytestmark = pytest.mark.timeout(900)

TOKEN = secrets.token_hex(20)


class Dmz:
    """Two simulators, an ingress with an inbox of its own, and an inner hub on SQLite that nobody can call."""

    def __init__(self, folder: Path) -> None:
        self.outer, self.inner = folder / "dmz", folder / "shop"
        self.processes: list[subprocess.Popen[str]] = []
        subprocess.run([*HUB, "init", str(self.inner)], env=ENVIRON, check=True, capture_output=True)
        sims = [self.popen(self.inner, "sim", name, "--settings") for name in ("fxiaoke", "kingdee")]
        self.crm, self.erp = (ready(sim)["base_url"] for sim in sims)
        file = self.inner / "hub.yaml"
        text = re.sub("http://127.0.0.1:9001", self.crm, file.read_text(encoding="utf-8"))
        text = re.sub("http://127.0.0.1:9002", self.erp, text)
        # What comes here comes by webhook, or not at all.
        text = re.sub(r"every: \w+", "cron: '0 0 1 1 *'", text)
        self.outer.mkdir()
        systems = re.sub(r"(?ms)^flows:.*", "", text)
        api = f"api: {{port: 0, tokens: [{{name: inner, role: operator, token: '{TOKEN}'}}]}}\n"
        (self.outer / "hub.yaml").write_text(api + systems, encoding="utf-8")
        (self.outer / ".env").write_bytes((self.inner / ".env").read_bytes())
        self._inner_text = text

    def ingress(self, port: str = "0") -> tuple[subprocess.Popen[str], str]:
        process = self.popen(self.outer, "run", "--role", "ingress", "--port", port, "--json")
        url = ready(process)["api"]
        source = f"inbox_from: [{{name: dmz, url: '{url}', token: '{TOKEN}'}}]\n"
        (self.inner / "hub.yaml").write_text(self._inner_text + source, encoding="utf-8")
        self.post(self.crm, "callback", {"url": f"{url}/hooks/crm"})
        return process, url

    def popen(self, folder: Path, *command: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*HUB, "-p", str(folder), *command], env={**ENVIRON, **environ}, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        return process

    def hub(self, **environ: str) -> subprocess.Popen[str]:
        return self.popen(self.inner, "run", "--port", "0", "--json", **environ)

    def post(self, system: str, what: str, body: Any) -> None:
        answer = httpx.post(f"{system}/_sim/{what}", content=json.dumps(body), trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text

    def new_customers(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.post(self.crm, "change", {"op": "create", "object": "AccountObj", "fields": customer(number)})

    def erp_customers(self) -> list[str]:
        params = {"object": "BD_Customer", "limit": 5000}
        answer = httpx.get(f"{self.erp}/_sim/records", params=params, trust_env=False, timeout=30)
        return sorted(row["FName"] for row in answer.json()["records"])

    def ask(self, url: str, token: str = TOKEN, **params: float) -> httpx.Response:
        """What the inner hub asks for."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{url}/relay/inbox", headers=headers, params=params, trust_env=False, timeout=30)

    def inbox(self, folder: Path) -> list[dict[str, Any]]:
        """The rows of a stopped hub's inbox."""
        done = subprocess.run(
            [*HUB, "-p", str(folder), "inbox", "list", "--json"],
            env=ENVIRON,
            capture_output=True,
            text=True,
            timeout=60,
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return found


@pytest.fixture
def dmz(tmp_path: Path) -> Iterator[Dmz]:
    made = Dmz(tmp_path)
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            if process.poll() is None:
                process.terminate()
        for process in made.processes:
            process.communicate(timeout=60)


def test_nothing_is_lost_between_two_stores_whoever_is_killed(dmz: Dmz) -> None:
    outer, url = dmz.ingress()
    dmz.new_customers(0, 3)

    # Stored within, not acknowledged without: it comes again, and is one more copy.
    dying = dmz.hub(HUB_FAILPOINT="after-pull-stored")
    ready(dying)
    assert dying.wait(timeout=120) == -signal.SIGKILL
    inner = dmz.hub()
    ready(inner)
    until(lambda: dmz.erp_customers() == names(3))

    # The ingress dies with webhooks that nobody has fetched yet.
    inner.terminate()
    assert inner.wait(timeout=60) == 0
    dmz.new_customers(3, 3)
    until(lambda: len(dmz.ask(url).json()["items"]) >= 3)  # acknowledged to the vendor; write-backs call back as well
    outer.send_signal(signal.SIGKILL)
    outer.wait(timeout=30)
    assert {row["state"] for row in dmz.inbox(dmz.outer)} == {"new", "handled"}
    outer, _ = dmz.ingress(url.rpartition(":")[2])
    inner = dmz.hub()
    ready(inner)
    until(lambda: dmz.erp_customers() == names(6))

    # The hub's own answers to the CRM call back as well: no more of them, and the last ones fetched.
    dmz.post(dmz.crm, "callback", {"url": None})
    until(lambda: dmz.ask(url).json() == {"items": []})
    inner.terminate()
    outer.terminate()
    assert (inner.wait(timeout=60), outer.wait(timeout=60)) == (0, 0)
    within, without = dmz.inbox(dmz.inner), dmz.inbox(dmz.outer)
    # What is done with out there stands in here; what came last may still wait out there.
    passed_on = {row["dedupe"] for row in without if row["state"] == "handled"}
    assert len(passed_on) >= 6
    assert passed_on <= {row["dedupe"] for row in within}
    assert max(row["copies"] for row in within) > 1


def test_who_may_empty_an_inbox(dmz: Dmz) -> None:
    _, url = dmz.ingress()
    dmz.new_customers(0, 2)

    assert dmz.ask(url, "").status_code == 401
    assert dmz.ask(url, "x" * 40).status_code == 401
    assert dmz.ask(url, limit=100_000).status_code == 422
    items = until(lambda: len(found := dmz.ask(url, wait=5).json()["items"]) == 2 and found)
    assert {(item["system"], event["object"]) for item in items for event in item["events"]} == {("crm", "AccountObj")}
    # What was not acknowledged comes again; what was does not, and a forged or repeated acknowledgement does no harm.
    assert dmz.ask(url).json()["items"][0]["id"] == items[0]["id"]
    headers = {"authorization": f"Bearer {TOKEN}"}
    taken = [
        httpx.post(f"{url}/relay/inbox/taken", headers=headers, json={"ids": ids}, trust_env=False, timeout=30)
        for ids in ([item["id"] for item in items], [items[0]["id"], "1"], ["; DROP TABLE inbox"])
    ]
    assert [answer.status_code for answer in taken] == [200, 200, 422]
    assert [answer.json().get("taken") for answer in taken] == [len(items), 0, None]
    assert until(lambda: dmz.ask(url).json()) == {"items": []}


def test_an_ingress_that_refuses_the_token_is_a_reason_in_the_health(dmz: Dmz) -> None:
    dmz.ingress()
    file = dmz.inner / "hub.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace(TOKEN, "y" * 40), encoding="utf-8")
    api = ready(dmz.hub())["api"]

    def reasons() -> Any:
        return httpx.get(f"{api}/health/ready", trust_env=False, timeout=30).json()["reasons"]

    assert until(reasons) == ["inbox_from/dmz: The ingress `dmz` refuses our token (401)."]
