"""Celery as the fleet's carrier, the thinnest of adapters: a task is a signal, and a signal only wakes somebody.

`hub run --role worker` runs its worker, and so does `celery -A hub.runtime.celery_app worker`, both configured by
`hub.yaml`. Each of its processes holds one open hub in a thread (see `lodger`); a task tells it that there is work and
is over. So nothing long, late or repeated ever waits in the broker (celery/celery#2481), and nothing is lost with it.
"""

from __future__ import annotations

import functools
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from hub.domain.errors import HubError, InvalidInput
from hub.runtime.config import Config, find, load
from hub.runtime.connectors import Installed
from hub.runtime.hub import Hub
from hub.runtime.lodger import Lodger
from hub.runtime.post import Post
from hub.runtime.roles import Part, refuse_unless_possible
from hub.runtime.signals import Signal

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger("hub.celery")

TASK = "hub.signal"
_ENOUGH = 200  # signals that lie unread: one more tells nobody anything
_STALE = 60  # seconds after which a signal is not worth reading: it has been sent again
_CONNECT = 4.0  # seconds


def __getattr__(name: str) -> Any:
    """`app`, made when Celery asks for it, from the `hub.yaml` of $HUB_PROJECT or of the nearest folder."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _found_app()


@functools.cache
def _found_app() -> Celery:
    try:
        config = load(find(), Installed.here())
        refuse_unless_possible(config, Part.WORKER)
        return worker_app(config)[0]
    except HubError as error:
        hint = f"\n→ {error.hint}" if error.hint else ""
        raise SystemExit(f"Error: {error}{hint}") from None


def carrier_app(config: Config) -> Celery:
    """A Celery that can send signals. Raises InvalidInput without a broker, HubError when Celery is not installed."""
    broker = config.fleet.broker
    if broker is None:
        raise InvalidInput(
            f"{config.file.name} names no broker, so Celery has nothing to listen to.",
            hint="add `fleet: {broker: ${env:HUB_BROKER}}`; `hub run --role worker` works without one, more slowly",
        )
    try:
        from celery import Celery
        from kombu.entity import Queue
    except ImportError as error:
        raise HubError(
            f"`fleet.broker` takes Celery, which is not installed ({error}).",
            hint="pip install 'crm-integration-hub[fleet]'",
        ) from None
    address = broker.get_secret_value()
    redis = address.startswith("redis")
    # Of a queue that nobody reads RabbitMQ drops what is old or too much; on Redis the sender looks (see `_send`).
    bounds = None if redis else {"x-message-ttl": _STALE * 1000, "x-max-length": _ENOUGH}
    app = Celery("crm-hub", broker=address, set_as_current=False)
    app.conf.update(
        task_default_queue=config.fleet.queue,
        task_queues=[Queue(config.fleet.queue, queue_arguments=bounds)],  # type: ignore[no-untyped-call]
        task_ignore_result=True,
        task_acks_late=False,
        task_default_delivery_mode="transient",
        task_serializer="json",
        accept_content=["json"],
        broker_connection_timeout=_CONNECT,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": _CONNECT, "socket_keepalive": True} if redis else {},
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def post(app: Celery) -> Post:
    """The way out for signals of this process."""
    line = _Line(app)
    return Post(line.send, line.close)


class _Line:
    """One connection to the broker, kept between sendings; used by one thread at a time."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None

    def send(self, signals: Sequence[Signal]) -> None:
        """Raises what kombu raises."""
        try:
            self._send(signals)
        except Exception:
            if self._connection is None:
                raise
            self.close()  # the broker may have gone and come back since
            self._send(signals)

    def _send(self, signals: Sequence[Signal]) -> None:
        if self._connection is None:
            fresh = self._app.connection_for_write()
            fresh.ensure_connection(max_retries=1, timeout=_CONNECT)
            self._connection = fresh
        if _unread(self._connection, self._app.conf.task_default_queue) >= _ENOUGH:
            return
        with self._app.amqp.Producer(self._connection) as producer:
            for signal in signals:
                self._app.send_task(TASK, (signal.kind, signal.flow), producer=producer, expires=_STALE, retry=False)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


def _unread(connection: Any, queue: str) -> int:
    if connection.transport.driver_type != "redis":
        return 0
    try:
        found: int = connection.default_channel.queue_declare(queue, passive=True).message_count
    except connection.channel_errors:  # an empty list is no list
        return 0
    return found


def worker_app(
    config: Config,
    open_hub: Callable[[], AbstractAsyncContextManager[Hub]] | None = None,
) -> tuple[Celery, Lodger]:
    """A Celery whose worker processes each hold an open hub, and the one of this process."""
    from celery import signals

    app = carrier_app(config)
    opener = open_hub or (lambda: Hub.open(config))
    lodger = Lodger(opener, lambda: post(app), stop_within=config.run.stop_within)

    @app.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def take(kind: str, flow: str = "") -> None:
        lodger.take(Signal(str(kind), str(flow)))

    # Sent in the main process by the solo pool, and in every child by the prefork pool, after it was forked: the hub
    # opens its connections where it uses them. Other pools share the main process, which is ready at some time.
    def begin(sender: Any = None, **_: Any) -> None:
        lodger.start()

    def ready(sender: Any = None, **_: Any) -> None:
        from celery.concurrency.prefork import TaskPool

        if not isinstance(sender.pool, TaskPool):
            lodger.start()

    def end(sender: Any = None, **_: Any) -> None:
        lodger.stop()

    signals.worker_process_init.connect(begin, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_process_shutdown.connect(end, weak=False)
    signals.worker_shutdown.connect(end, weak=False)
    return app, lodger


def run_worker(config: Config, ready: Callable[[], None]) -> None:
    """One worker of the fleet in this process, until SIGTERM or Ctrl-C. `ready` is called when it works.

    Raises HubError when the hub can't be opened; a broker that can't be reached is only tried again.
    """
    from celery import signals

    app, lodger = worker_app(config)
    # Until Celery's own handlers are there, a SIGTERM must hand back what the hub has in hand, as it does later.
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, _leave)
    lodger.start()
    try:
        lodger.wait_until_at_work()
        ready()
        # Logging is ours: with a receiver here, Celery leaves it alone.
        signals.setup_logging.connect(_leave_logging, weak=False)
        # A name of its own: two of one name would claim one queue for `celery inspect`, and RabbitMQ refuses that.
        name = f"hub-{secrets.token_hex(4)}@{socket.gethostname()}"
        worker = app.Worker(
            hostname=name, pool="solo", quiet=True, without_mingle=True, without_gossip=True, loglevel="WARNING"
        )
        worker.start()
        if worker.exitcode:
            raise HubError(
                f"The Celery worker ended by itself (exit code {worker.exitcode}).",
                hint="its last words are in the log; nothing is lost, start it again",
            )
    finally:
        lodger.stop()


def _leave(*_: Any) -> None:
    raise SystemExit(0)


def _leave_logging(**_: Any) -> None:
    """Nothing to do: `hub run` has set logging up."""
