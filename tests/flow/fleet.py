"""A fleet as its users have it: simulators, a database, a broker, and the hub's parts as processes."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis
from kombu import Connection

HUB = [sys.executable, "-c", "from hub.cli.main import main; main()"]
ENVIRON = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
_BROKER = os.environ.get("HUB_TEST_BROKER", "")  # either of the two; the other is looked for on this machine
REDIS = _BROKER if _BROKER.startswith("redis") else "redis://127.0.0.1:6379"
RABBITMQ = _BROKER if _BROKER.startswith("amqp") else "amqp://guest:guest@127.0.0.1:5672//"


class Broker:
    """A broker of our own: a Redis database that was empty, or a queue of RabbitMQ with a random name."""

    def __init__(self, kind: str) -> None:
        self.queue = f"t-{secrets.token_hex(6)}"
        self.url = RABBITMQ if kind == "rabbitmq" else _empty_database(REDIS)
        self.kind = kind

    def wipe(self) -> None:
        """Everything in it is gone, but for our claim to it."""
        if self.kind == "redis":
            with redis.Redis.from_url(self.url) as client:
                client.flushdb()
                client.set(_TAKEN, self.queue)
            return
        with Connection(self.url) as connection:
            connection.default_channel.queue_delete(self.queue)

    def leave(self) -> None:
        """Leave nothing behind."""
        self.wipe()
        if self.kind == "redis":
            with redis.Redis.from_url(self.url) as client:
                client.flushdb()


_TAKEN = "taken by a test of the hub"


def _empty_database(url: str) -> str:
    for number in range(15, 3, -1):
        with redis.Redis.from_url(f"{url}/{number}") as client:
            if client.dbsize() == 0 and client.set(_TAKEN, "now", nx=True):
                return f"{url}/{number}"
    raise AssertionError(f"no database of {url} is empty")


class Fleet:
    """A project over PostgreSQL; `start` puts parts of it to work."""

    def __init__(self, folder: Path, database: str, broker: Broker | None) -> None:
        self.folder = folder
        self.database = database
        self.broker = broker
        self.processes: list[subprocess.Popen[str]] = []
        subprocess.run([*HUB, "init", str(folder)], env=ENVIRON, check=True, capture_output=True)
        self.crm, self.erp = (
            told["base_url"]
            for told in self.start_all(("sim", "fxiaoke", "--settings"), ("sim", "kingdee", "--settings"))
        )
        self._http = httpx.Client(trust_env=False, timeout=30.0)
        self._write()

    def _write(self) -> None:
        file = self.folder / "hub.yaml"
        text = re.sub("http://127.0.0.1:9001", self.crm, file.read_text(encoding="utf-8"))
        text = re.sub("http://127.0.0.1:9002", self.erp, text)
        text = re.sub(r"every: \w+", "every: 5s", text)
        text = re.sub(r"(mapping: [^,}\n]+)", r"\1, settles_within: 1s", text)
        text += f"\nstore: {self.database}\nrun: {{stop_within: 3s}}\n"
        if self.broker is not None:
            text += f"fleet: {{broker: '{self.broker.url}', queue: {self.broker.queue}}}\n"
        file.write_text(text, encoding="utf-8")

    # -- processes -------------------------------------------------------------------------------------------------

    def start_all(self, *commands: Sequence[str], environ: Mapping[str, str] | None = None) -> list[Any]:
        """Start them side by side; what each says when it is ready."""
        begun = [self.popen(*command, environ=environ) for command in commands]
        return [ready(process) for process in begun]

    def start(self, *command: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start one, and wait until it is ready."""
        process = self.popen(*command, environ=environ)
        ready(process)
        return process

    def popen(self, *command: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*HUB, "-p", str(self.folder), *command],
            env={**ENVIRON, **(environ or {})},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def part(self, role: str, *more: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return self.popen("run", "--role", role, *more, "--json", environ=environ)

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self._http.close()

    # -- the systems and the database ------------------------------------------------------------------------------

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as conn:
            found = conn.execute(statement)
            return found.fetchall() if found.description else []

    def side_door(self, system: str, what: str, body: Any = None, **params: Any) -> Any:
        url = f"{system}/_sim/{what}"
        answer = self._http.get(url, params=params) if body is None else self._http.post(url, content=json.dumps(body))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def new_customers(self, first: int, count: int) -> None:
        """People of the CRM enter customers; callbacks tell whoever is to be told."""
        for number in range(first, first + count):
            body = {"op": "create", "object": "AccountObj", "fields": customer(number)}
            self.side_door(self.crm, "change", body)

    def erp_customers(self) -> list[str]:
        """Names of the ERP's customers, each as often as it is there."""
        rows = self.side_door(self.erp, "records", object="BD_Customer", limit=5000)["records"]
        return sorted(row["FName"] for row in rows)

    def at_rest(self) -> bool:
        """Whether nothing of the CRM's customers is owed any more."""
        states = self.rows("SELECT DISTINCT state FROM delivery WHERE flow = 'customers-to-erp'")
        return {row[0] for row in states} <= {"done", "unchanged", "filtered"}


def customer(number: int) -> dict[str, Any]:
    return {
        "name": f"上海自动化有限公司{number:04d}",
        "tax_no__c": f"91310000MA{number:05d}00X",
        "tel": f"021-{60_000_000 + number}",
        "owner": ["1000"],
    }


def names(count: int) -> list[str]:
    return sorted(customer(number)["name"] for number in range(count))


def ready(process: subprocess.Popen[str]) -> Any:
    """What a process says when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"{process.args} did not start"
    told = json.loads(line)
    assert "error" not in told, told
    return told


def stopped(*processes: subprocess.Popen[str]) -> list[int]:
    """Ask processes to stop; their exit codes."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    return [process.wait(timeout=60) for process in processes]


def until(what: Callable[[], Any], seconds: float = 240.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about in time")


@contextmanager
def fleet(folder: Path, database: str, broker: Broker | None) -> Iterator[Fleet]:
    made = Fleet(folder, database, broker)
    try:
        yield made
    finally:
        made.close()
        if broker is not None:
            broker.leave()
