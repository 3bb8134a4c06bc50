"""Many processes over one database, with a real broker that may lose everything, and parts that may die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from hub.runtime.celery_app import TASK, carrier_app, post
from hub.runtime.config import load
from hub.runtime.connectors import Installed
from hub.runtime.signals import Signal
from tests.flow.fleet import ENVIRON, Broker, Fleet, fleet, names, ready, stopped, until

pytestmark = pytest.mark.timeout(900)

MADE = 30


def _tell(made: Fleet, *signals: Signal) -> None:
    app = carrier_app(load(made.folder / "hub.yaml", Installed.here()))
    for one in signals:
        app.send_task(TASK, (one.kind, one.flow))
    app.close()


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_broker_that_is_wiped_in_mid_run_loses_nothing(tmp_path: Path, postgres_url: str, kind: str) -> None:
    """Truth is in the database: signals may be lost, doubled or forged, and schedulers may die."""
    broker = Broker(kind)
    with fleet(tmp_path / "shop", postgres_url, broker) as made:
        roles = ["ingress", "scheduler", "scheduler", "worker", "worker", "worker"]
        parts = [made.part(role, *(["--port", "0"] if role == "ingress" else [])) for role in roles]
        api = ready(parts[0])["api"]
        for part in parts[1:]:
            ready(part)
        made.side_door(made.crm, "callback", {"url": f"{api}/hooks/crm"})

        third = MADE // 3
        made.new_customers(0, third)
        until(made.erp_customers)
        broker.wipe()
        parts[1].send_signal(signal.SIGKILL)
        made.new_customers(third, third)
        broker.wipe()
        flows = ("customers-to-erp", "no-such-flow", "../../etc")
        _tell(made, *[Signal("drain", flow) for flow in flows] * 10, *[Signal("read", flow) for flow in flows] * 10)
        _tell(made, *[Signal("fetch")] * 10, Signal("no-such-kind", "customers-to-erp"))
        made.new_customers(2 * third, third)

        until(lambda: len(made.erp_customers()) >= MADE and made.at_rest())
        assert made.erp_customers() == names(MADE)
        assert [part.poll() for part in parts[2:]] == [None] * 4
        assert stopped(parts[0], *parts[2:]) == [0] * 5
        assert made.rows("SELECT role FROM process") == [("scheduler",)]  # the one that was killed
        assert made.rows("SELECT name FROM schedule WHERE lease_until IS NOT NULL") == []
        assert made.rows("SELECT id FROM delivery WHERE lease_until IS NOT NULL") == []


def test_what_a_dead_process_held_is_taken_over(tmp_path: Path, postgres_url: str) -> None:
    """procrastinate-org/procrastinate#307, #740: a worker dies with a schedule in hand, and nobody knows its name."""
    with fleet(tmp_path / "shop", postgres_url, Broker("redis")) as made:
        ready(made.part("scheduler"))
        made.new_customers(0, 3)
        dying = made.part("worker", environ={"HUB_FAILPOINT": "after-schedule-claim"})
        assert dying.wait(timeout=120) == -signal.SIGKILL
        held = made.rows("SELECT name, holder FROM schedule WHERE lease_until IS NOT NULL")
        assert held
        ready(made.part("worker"))
        # Its lease runs out now, and not in a minute. The database's clock decides, and nothing else.
        made.rows("UPDATE schedule SET lease_until = 1 WHERE holder = '" + held[0][1] + "'")
        until(lambda: made.erp_customers() == names(3))
        # What it was reading says 'running' no longer than it gives signs of life.
        made.rows(
            "INSERT INTO run (id, flow, kind, cause, state, started, beat)"
            " VALUES (1, 'products', 'read', 'schedule', 'running', 1, 1)"
        )
        until(lambda: made.rows("SELECT state FROM run WHERE id = 1") == [("interrupted",)])


def test_without_a_broker_the_parts_find_their_work_themselves(tmp_path: Path, postgres_url: str) -> None:
    with fleet(tmp_path / "shop", postgres_url, None) as made:
        parts = [made.part("scheduler"), made.part("worker"), made.part("ingress", "--port", "0")]
        api = [ready(part) for part in parts][2]["api"]
        made.side_door(made.crm, "callback", {"url": f"{api}/hooks/crm"})
        made.new_customers(0, 3)
        until(lambda: made.erp_customers() == names(3))
        assert stopped(*parts) == [0, 0, 0]


def test_the_plain_celery_command_is_a_worker_as_well(tmp_path: Path, postgres_url: str) -> None:
    command = [sys.executable, "-m", "celery", "-A", "hub.runtime.celery_app"]
    with fleet(tmp_path / "shop", postgres_url, Broker("redis")) as made:
        ready(made.part("scheduler"))
        made.new_customers(0, 3)
        worker = subprocess.Popen(
            [*command, "worker", "-c", "2", "-n", "plain@%h"], env=ENVIRON, cwd=made.folder, stdout=subprocess.DEVNULL
        )
        made.processes.append(worker)
        until(lambda: made.erp_customers() == names(3) and made.at_rest())
        assert stopped(worker) == [0]
        assert made.rows("SELECT name FROM schedule WHERE lease_until IS NOT NULL") == []
        assert made.rows("SELECT role FROM process") == [("scheduler",)]
    alone = subprocess.run([*command, "worker"], env=ENVIRON, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert alone.returncode == 1
    assert "Error: There is no hub.yaml" in alone.stderr
    assert "Traceback" not in alone.stderr


async def test_nothing_waits_in_the_broker(tmp_path: Path) -> None:
    """celery/celery#2481: delayed jobs longer than the broker's visibility time-out ran again and again."""
    broker = Broker("redis")
    file = tmp_path / "hub.yaml"
    file.write_text(
        f"store: postgresql://nobody@127.0.0.1/nothing\nfleet: {{broker: '{broker.url}', queue: {broker.queue}}}\n",
        encoding="utf-8",
    )
    app = carrier_app(load(file, Installed.here()))
    assert (app.conf.task_acks_late, app.conf.result_backend) == (False, None)
    client = redis.Redis.from_url(broker.url)
    out = post(app)
    try:
        out.send([Signal("drain", "orders")] * 3)
        sent = [json.loads(message) for message in client.lrange(broker.queue, 0, -1)]  # type: ignore[union-attr]
        assert len(sent) == 3
        for message in sent:
            assert message["headers"]["eta"] is None
            assert message["headers"]["expires"] is not None
            assert message["headers"]["task"] == TASK
        # A fleet without workers does not fill the broker's memory: signals are told again, not piled up.
        for _ in range(5):
            out.send([Signal("drain", f"flow {number}") for number in range(100)])
        assert client.llen(broker.queue) <= 303
    finally:
        out.close()
        client.close()
        app.close()
        broker.leave()
