"""Faults on demand: what a simulator does wrong, for which calls, how often."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    SLOW = "slow"  # waits `seconds`, then handles the call
    RESET = "reset"  # cuts the connection, nothing is done
    RESET_AFTER_COMMIT = "reset_after_commit"  # does it, then cuts the connection
    ANSWER_LOST_AFTER_COMMIT = "answer_lost_after_commit"  # does it, and never answers
    COMMIT_AFTER_ANSWER_LOST = "commit_after_answer_lost"  # cuts the connection, does it `seconds` later
    THROTTLE = "throttle"  # the vendor's 'too many calls', asking for `retry_after` seconds if given
    HTTP_500 = "http_500"  # the vendor's internal error, nothing is done
    HTTP_500_AFTER_COMMIT = "http_500_after_commit"
    TRUNCATED = "truncated"  # does it, and sends half of the answer
    MALFORMED = "malformed"  # does it, and answers with something that is no answer
    ECHO = "echo"  # does nothing, and answers with the request itself, credentials included
    EXPIRE_TOKEN = "expire_token"  # noqa: S105 - all tokens and sessions end before this call
    FIND_LAG = "find_lag"  # while armed: searches don't see writes of the last `seconds`
    STALE_GET = "stale_get"  # while armed: reads show records as they were `seconds` ago
    LATE_STAMP = "late_stamp"  # while armed: modification stamps are `seconds` old
    CALLBACK_LOST = "callback_lost"
    CALLBACK_LATE = "callback_late"
    CALLBACK_TWICE = "callback_twice"


LASTING = frozenset({FaultKind.FIND_LAG, FaultKind.STALE_GET, FaultKind.LATE_STAMP})


class Fault(BaseModel):
    """One armed fault.

    `path`, `op` and `body` are regular expressions that must all be found in the call (`op` in what the simulator
    calls it); it strikes `times` (None: always) after letting `skip` calls pass, each with `probability`.
    """

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    path: str = ""
    op: str = ""
    body: str = ""
    times: int | None = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    probability: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0
    seconds: float = Field(default=1.0, ge=0)
    retry_after: float | None = None


@dataclass(slots=True)
class _Armed:
    fault: Fault
    dice: random.Random
    seen: int = 0
    struck: int = 0


@dataclass(slots=True)
class Faults:
    """The armed faults of one simulator, and how often each kind struck."""

    _armed: list[_Armed] = field(default_factory=list)
    struck: dict[str, int] = field(default_factory=dict)

    def arm(self, fault: Fault) -> None:
        self._armed.append(_Armed(fault, random.Random(fault.seed)))  # noqa: S311 - replayable dice

    def clear(self) -> None:
        self._armed.clear()

    def listed(self) -> list[dict[str, object]]:
        return [{**armed.fault.model_dump(mode="json"), "struck": armed.struck} for armed in self._armed]

    def next(self, *, path: str, op: str, body: bytes) -> Fault | None:
        """The fault that strikes this call, if any; it is used up by that."""
        if not self._armed:
            return None
        text = None
        for armed in self._armed:
            fault = armed.fault
            if fault.kind in LASTING or fault.kind.startswith("callback_"):
                continue
            if not re.search(fault.path, path) or not re.search(fault.op, op):
                continue
            if fault.body:
                text = body.decode("utf-8", "replace") if text is None else text
                if not re.search(fault.body, text):
                    continue
            if self._strikes(armed):
                return fault
        return None

    def callback(self) -> Fault | None:
        """The fault that strikes the callback about to be sent, if any."""
        for armed in self._armed:
            if armed.fault.kind.startswith("callback_") and self._strikes(armed):
                return armed.fault
        return None

    def lasting(self, kind: FaultKind) -> float:
        """Seconds of a lasting fault (0: not armed)."""
        return max((armed.fault.seconds for armed in self._armed if armed.fault.kind is kind), default=0.0)

    def _strikes(self, armed: _Armed) -> bool:
        fault = armed.fault
        if fault.times is not None and armed.struck >= fault.times:
            return False
        armed.seen += 1
        if armed.seen <= fault.skip or armed.dice.random() >= fault.probability:
            return False
        armed.struck += 1
        self.struck[fault.kind.value] = self.struck.get(fault.kind.value, 0) + 1
        return True
