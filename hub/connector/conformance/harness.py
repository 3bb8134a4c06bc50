"""What a connector's test gives to the conformance suite."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hub.connector.contract import Connector, Manifest, WebhookRequest
from hub.connector.kit import Kit
from hub.connector.simulator import Simulator
from hub.domain.record import Fields


class Harness(ABC):
    """One connector, its simulator, and how to handle both; `tests/conformance/harness_*.py` each give one.

    `object` is read and written; `key` is a text field of it that is unique for each `sample` and found by `find`.
    The `*_op` are regular expressions over what the simulator's `op_of` says: of the call that saves a record, that
    reads a page, that gets records, that finds some. `page` is how many records a page of `read` has, `lag` how many
    seconds a change needs until an incremental read may see it.
    """

    name: str
    object: str
    key: str
    page: int
    write_op: str
    read_op: str
    get_op: str
    find_op: str
    lag: float = 0.0
    update_op: str = ""  # the call that saves an update ('' = the same as `write_op`)
    text: str = ""  # a text field that takes any text of up to `text_length` characters ('' = the key)
    text_length: int = 50
    step_ops: ClassVar[Mapping[str, str]] = {}  # step -> regular expression of its call
    detail: tuple[str, str] | None = None  # (detail object, its master field), for `children`
    file: str = ""  # the file field, for connectors with files
    upload_op: str = ""
    download_op: str = ""

    @property
    @abstractmethod
    def manifest(self) -> Manifest:
        """The connector's; the cases that it exempts with a reason are left out."""

    @abstractmethod
    def simulator(self) -> Simulator:
        """A fresh one, empty of records of `object`, with whatever those need (units, owners)."""

    @abstractmethod
    def connector(self, settings: Mapping[str, Any], kit: Kit) -> Connector:
        """Built from `simulator.settings()`, perhaps with a smaller page."""

    @abstractmethod
    async def seed(self, simulator: Simulator, start: int, count: int) -> list[str]:
        """Put `count` records in as if people had made them: samples `start`, `start + 1`, ... Returns their ids."""

    @abstractmethod
    async def edit(self, simulator: Simulator, id: str, n: int) -> None:
        """A person changes a record so that `text` holds `changed(n)[text]`; its stamp moves."""

    @abstractmethod
    async def remove(self, simulator: Simulator, id: str) -> None:
        """A person deletes a record for good."""

    @abstractmethod
    def sample(self, n: int) -> Fields:
        """The n-th record, complete enough to be created, in the system's own shape."""

    @abstractmethod
    def changed(self, n: int) -> Fields:
        """Fields of an update (the text field among them), other ones for each n."""

    @abstractmethod
    def invalid(self, n: int) -> Fields:
        """Like `sample`, but the system's own rules refuse it."""

    @abstractmethod
    def wrong(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with a wrong credential."""

    @abstractmethod
    def secrets(self, simulator: Simulator) -> Sequence[str]:
        """Every secret there is now: of the settings, and what the simulator issued (tokens, sessions)."""

    def webhook(self, simulator: Simulator, object: str, id: str, *, at: int) -> WebhookRequest:
        """A true webhook about a record, signed as the vendor would at `at` (epoch ms)."""
        raise NotImplementedError(f"{self.name} has no webhooks; its manifest must exempt the webhook cases")

    def forgeries(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        """What somebody without the secret may make of a true webhook."""
        raise NotImplementedError(f"{self.name} has no webhooks; its manifest must exempt the webhook cases")

    def logins(self, simulator: Simulator) -> int:
        """How often somebody logged in."""
        return simulator.counts["login"]

    def sends(self, simulator: Simulator, op: str) -> int:
        """How many calls whose op matches arrived."""
        return sum(count for name, count in simulator.counts.items() if re.search(op, name))

    def made(self, simulator: Simulator, n: int) -> int:
        """How many creates of sample n were committed through the API."""
        wanted = self.sample(n)[self.key]
        return sum(
            1
            for entry in simulator.journal
            if entry.object == self.object
            and entry.before is None
            and entry.actor != "seed"
            and entry.after is not None
            and entry.after.get(self.key) == wanted
        )

    @property
    def text_field(self) -> str:
        return self.text or self.key
