"""What became of a write, from whatever a call raised."""

from __future__ import annotations

from collections.abc import Awaitable

from connectors.dingtalk.client import Answered, Refusal
from hub.connector.http import BadAnswer, TransportFailure
from hub.domain.clock import Clock
from hub.domain.errors import HubError, QuotaSpent, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind


async def sent(call: Awaitable[Answered], clock: Clock) -> Answered | Outcome:
    """The answer of a write, or its outcome. Never raises for what the system answered or failed to answer."""
    try:
        return await call
    except (TransportFailure, BadAnswer) as failure:
        return failure.outcome()
    except Refusal as refusal:
        return refusal.outcome()
    except HubError as error:
        return not_begun(error, clock)


def not_begun(error: HubError, clock: Clock) -> Outcome:
    """Nothing of the write left: a spent quota, no credentials, no log-in, no description to be had."""
    if isinstance(error, TransportFailure):
        return Outcome(OutcomeKind.DOWN, failure=Failure(error.message, code="transport"))
    after = error.retry_after if isinstance(error, VendorError) else None
    if isinstance(error, QuotaSpent):
        after = max(0.0, (error.resumes_at - clock.now()) / 1000)
    code = error.code if isinstance(error, VendorError) else None
    return Outcome(OutcomeKind.NOT_EXECUTED, failure=Failure(error.message, code=code), retry_after=after)


def rejected(message: str, *, field: str | None = None, kind: OutcomeKind = OutcomeKind.REJECTED) -> Outcome:
    """A write that the connector itself refuses, in words."""
    return Outcome(kind, failure=Failure(message, field=field))
