"""The shape of `hub.yaml`: every section as a model whose field descriptions are its documentation."""

from __future__ import annotations

from datetime import time
from enum import StrEnum
from typing import Any, Literal

from apscheduler.triggers.cron import CronTrigger
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from hub.runtime.units import Bytes, Seconds, Start, TimeOfDay, ZoneName
from hub.sync.flow import FirstSight, OnAdopt, OnGone

LOCALHOST = frozenset({"127.0.0.1", "localhost", "::1"})
BROKERS = ("redis", "rediss", "amqp", "amqps")


class Role(StrEnum):
    """What a caller may do; each role may do what stands before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Section(BaseModel):
    """A part of `hub.yaml`: nothing unknown is taken, nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StoreSettings(Section):
    url: SecretStr = Field(
        default=SecretStr("sqlite:///hub.db"),
        description="Where the hub keeps its own data: `sqlite:///hub.db` (beside hub.yaml) or `postgresql://…`.",
    )

    @field_validator("url")
    @classmethod
    def _known_kind(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("sqlite:///", "postgresql://", "postgres://", "postgresql+")):
            raise ValueError("the store is SQLite or PostgreSQL: sqlite:///hub.db or postgresql://user@host/database")
        return value

    key: SecretStr | None = Field(
        default=None,
        description="Key that seals log-ins, so that processes may share them through the store: `${env:HUB_KEY}`. "
        "None: every process logs in for itself.",
    )

    @field_validator("key")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("a key has at least 32 characters; make one with `openssl rand -hex 32`")
        return value


class TokenSettings(Section):
    name: str = Field(min_length=1, description="Who this is; stands in the audit log.")
    role: Role = Field(default=Role.VIEWER, description="viewer, operator, engineer or admin.")
    token: SecretStr = Field(description="The secret itself: `${env:NAME}` or `${file:PATH}`.")

    @field_validator("token")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 20:
            raise ValueError("a token has at least 20 characters; make one with `openssl rand -hex 32`")
        return value


class ApiSettings(Section):
    host: str = Field(default="127.0.0.1", description="Address to listen on; anything but localhost needs tokens.")
    port: int = Field(default=8300, ge=0, le=65535, description="Port to listen on.")
    tokens: list[TokenSettings] = Field(default_factory=list, description="Who may call.")
    max_body: Bytes = Field(default=1 << 20, description="Largest webhook that is taken, e.g. 1MB.")
    max_head: Bytes = Field(default=32 << 10, description="Largest request line with its headers, e.g. 32KB.")
    request_within: Seconds = Field(default=30.0, description="How long a request may take to come in.")
    hook_rate: int = Field(
        default=1_000, ge=1, description="Webhooks a second that one system may send; five times as many in a burst."
    )

    @property
    def local(self) -> bool:
        return self.host in LOCALHOST

    @model_validator(mode="after")
    def _guarded(self) -> ApiSettings:
        if not self.local and not self.tokens:
            raise ValueError(
                f"the API would listen on {self.host} with no tokens, so that anybody could steer the hub; "
                "add `tokens:`, or listen on 127.0.0.1"
            )
        names = [token.name for token in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError("two tokens have the same name")
        return self


class FlowSettings(Section):
    """A mapping put to work: when it runs, and how it behaves."""

    mapping: str = Field(description="The mapping's file, beside hub.yaml.")
    every: Seconds | None = Field(default=None, description="Read the source at this interval, e.g. 5m.")
    cron: str | None = Field(default=None, description="Read the source at these times, e.g. '*/5 8-20 * * mon-fri'.")
    tz: ZoneName = Field(default="Asia/Shanghai", description="Time zone of `cron`, `sweep` and `start`.")
    webhooks: bool = Field(default=True, description="Fetch at once what the source's webhooks tell of.")
    sweep: TimeOfDay = Field(
        default=time(3, 0), description="Time of the daily look for what was missed; `off` for none."
    )
    start: Start = Field(default=None, description="`now` or a date: records last changed before it are not sent.")
    first_sight: FirstSight = Field(
        default=FirstSight.SEND, description="`send`, or `baseline`: only what changes from here on."
    )
    create: Literal["always", "never"] = Field(default="always", description="`never`: only update what exists.")
    priority: int = Field(default=0, ge=-100, le=100, description="Higher goes first.")
    on_adopt: OnAdopt | None = Field(
        default=None, description="What adopting writes: nothing, fill_empty, source or hold."
    )
    on_gone: OnGone = Field(default=OnGone.HOLD, description="The target was deleted there: `hold` or `recreate`.")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Constants for this flow; they go before the general ones."
    )
    paused: bool = Field(default=False, description="Start paused.")
    attempts: int = Field(default=12, ge=1, le=1000, description="Tries before a delivery is dead.")
    backoff: Seconds = Field(default=2.0, description="First wait between tries; doubles, with jitter.")
    backoff_limit: Seconds = Field(default=3600.0, description="Longest wait between tries.")
    settles_within: Seconds | None = Field(
        default=None,
        description="How long an unanswered write may take to show in the target; else what the connector knows.",
    )
    blocked_every: Seconds = Field(default=900.0, description="How often a blocked delivery is tried.")
    blocked_for: Seconds = Field(
        default=7 * 86400.0, description="How long the target may refuse before a delivery is dead."
    )
    delete_share: float = Field(
        default=0.1, ge=0, le=1, description="Largest share of records that may vanish at once."
    )
    batch: int = Field(default=500, ge=1, le=10_000, description="Deliveries claimed at a time.")

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                CronTrigger.from_crontab(value)
            except ValueError as error:
                raise ValueError(f"this is no cron expression: {error}; five fields, such as '*/5 * * * *'") from None
        return value

    @field_validator("every")
    @classmethod
    def _every(cls, value: float | None) -> float | None:
        if value is not None and value < 1:
            raise ValueError("once a second is the most")
        return value

    @model_validator(mode="after")
    def _one_trigger(self) -> FlowSettings:
        if self.every is not None and self.cron is not None:
            raise ValueError("`every` and `cron` exclude each other")
        return self


class BudgetSettings(Section):
    """How the hub shares vendors' call quotas with people."""

    reserve: float = Field(
        default=0.05,
        ge=0,
        le=0.9,
        description="Share of every day's or month's quota that flows leave to people: 0.05 is a twentieth.",
    )


class RetentionSettings(Section):
    """How long the hub keeps what it no longer needs for its work."""

    payloads: Seconds = Field(default=7 * 86400.0, description="Source records of finished deliveries.")
    attempts: Seconds = Field(default=90 * 86400.0, description="History of writes.")
    inbox: Seconds = Field(default=30 * 86400.0, description="Handled webhooks.")
    runs: Seconds = Field(default=90 * 86400.0, description="History of runs.")


class RunSettings(Section):
    """How a process of the hub lives."""

    stop_within: Seconds = Field(
        default=20.0,
        description="How long SIGTERM lets work in hand come to rest before the rest is handed back. "
        "Whoever stops the process (systemd, a container's engine) must wait 15 s longer than this.",
    )


class FleetSettings(Section):
    """What carries signals between the processes of a fleet. Nothing rests on it: the truth is in the store."""

    broker: SecretStr | None = Field(
        default=None,
        description="Redis or RabbitMQ: `redis://…`, `rediss://…`, `amqp://…` or `amqps://…`. "
        "None: the processes look for work themselves, which is slower.",
    )
    queue: str = Field(
        default="crm-hub",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="The broker's queue; two hubs at one broker need two names.",
    )

    @field_validator("broker")
    @classmethod
    def _known(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value().partition("://")[0] not in BROKERS:
            raise ValueError(f"must start with {', '.join(f'{one}://' for one in BROKERS)}")
        return value


class IngressSettings(Section):
    """An ingress elsewhere, in a DMZ say, whose inbox this hub empties. The hub calls it, never the other way round."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,49}$", description="What it is called in logs and in `hub status`."
    )
    url: str = Field(description="Where its `hub run --role ingress` listens, e.g. https://dmz.example.com:8300.")
    token: SecretStr = Field(description="A token of role operator from its `api: {tokens: …}`.")

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError("must start with https:// (or http:// on a network of your own)")
        return value.rstrip("/")


class InboxesSettings(Section):
    """Where webhooks come in beside this hub's own ingress."""

    inbox_from: list[IngressSettings] = Field(
        default_factory=list, description="Ingresses elsewhere whose inboxes this hub empties."
    )

    @model_validator(mode="after")
    def _once_each(self) -> InboxesSettings:
        names = [one.name for one in self.inbox_from]
        if len(set(names)) < len(names):
            raise ValueError("two entries of `inbox_from` have the same name")
        return self


TOP = ("store", "api", "systems", "params", "names", "flows", "retention", "budgets", "run", "fleet", "inbox_from")
