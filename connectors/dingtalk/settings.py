"""What a connection to DingTalk needs to know; forms, docs and checks come from these descriptions."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from hub.connector.codes import ErrorRule
from hub.connector.webhook import aes_key

_NAME = r"^[A-Za-z0-9_\-]+$"


class RobotSettings(BaseModel):
    """One custom robot of a group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: SecretStr = Field(description="the access_token in the robot's webhook address")
    secret: SecretStr | None = Field(default=None, description="the robot's signing secret (SEC...)")


class DingTalkSettings(BaseModel):
    """Settings of one internal app of one organisation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    corp_id: str = Field(description="CorpId of the organisation (ding...)")
    client_id: str = Field(description="Client ID (AppKey) of the internal app")
    client_secret: SecretStr = Field(description="Client Secret (AppSecret) of the internal app")
    agent_id: int | None = Field(
        default=None, description="AgentId of the app; needed for work notifications and attachments"
    )
    templates: dict[str, str] = Field(
        default_factory=dict,
        description="approval forms by the name for mappings: {discount: PROC-...} is the object approval:discount",
    )
    robots: dict[str, RobotSettings] = Field(
        default_factory=dict, description="group robots by name: {sales: {token: ..., secret: ...}} is robot:sales"
    )
    stamp_label: str = Field(
        default="集成键", description="label of the form's text field for the hub's key; it finds what the hub started"
    )
    file_user: str | None = Field(
        default=None, description="userid in whose name attachments are uploaded; empty: forms get no attachments"
    )
    acting_user: str | None = Field(
        default=None, description="userid in whose name approvals are withdrawn and commented on; empty: the originator"
    )

    events: Literal["http", "stream", "none"] = Field(
        default="http", description="how events come: 'http' callbacks, 'stream' (the hub connects), or 'none'"
    )
    callback_token: SecretStr | None = Field(default=None, description="token of the HTTP event subscription")
    callback_aes_key: SecretStr | None = Field(
        default=None, description="aes_key of the HTTP event subscription (43 characters)"
    )
    callback_window: float = Field(
        default=3600.0, gt=0, description="seconds that a callback's timestamp may differ from the hub's clock"
    )

    second_calls: int = Field(default=15, ge=1, description="calls of one interface in a second (the vendor allows 20)")
    month_calls: int = Field(
        default=5000,
        ge=1,
        description="calls of the organisation in a month, over all its apps (standard edition: 5000)",
    )
    concurrency: int = Field(default=8, ge=1, le=64, description="calls of one batch that run at a time")
    timeout: float = Field(default=30.0, gt=0, description="seconds that a read may take")

    lag: float = Field(default=5.0, ge=0, description="seconds that a poll of approvals stays behind now")
    overlap: float = Field(
        default=60.0, ge=0, description="seconds that each poll goes back over the one before, for starts seen late"
    )
    running_check: float = Field(
        default=21_600.0,
        ge=0,
        description="seconds between two polls that read every running approval; each costs a call for each of them",
    )
    find_days: int = Field(
        default=7, ge=1, le=120, description="days back that a look-up of an approval by a field of its form goes"
    )
    describe_seconds: float = Field(
        default=86_400.0,
        ge=0,
        description="seconds that a form's description is kept; asking costs a call",
    )
    resend_within: float = Field(
        default=1800.0,
        ge=0,
        description="seconds within which a work notification whose answer was lost is sent again: the platform drops "
        "the same content of the same day; 0: it waits for a person",
    )
    base_url: str = Field(default="https://api.dingtalk.com", description="address of the new API")
    old_base_url: str = Field(default="https://oapi.dingtalk.com", description="address of the old API")
    errors: list[ErrorRule] = Field(
        default_factory=list, description="meanings of further error codes; they go before the built-in ones"
    )

    @field_validator("base_url", "old_base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("must start with https://")
        return url.rstrip("/")

    @field_validator("callback_aes_key")
    @classmethod
    def _key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            aes_key(key.get_secret_value())
        return key

    @field_validator("templates", "robots")
    @classmethod
    def _names(cls, named: dict[str, object]) -> dict[str, object]:
        for name in named:
            if not re.match(_NAME, name):
                raise ValueError(f"'{name}' must be made of letters, digits, '-' and '_'")
        return named

    @model_validator(mode="after")
    def _callback_is_whole(self) -> DingTalkSettings:
        if (self.callback_token is None) != (self.callback_aes_key is None):
            raise ValueError("callback_token and callback_aes_key go together")
        return self
