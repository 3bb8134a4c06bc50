"""What an engineer sets for a WeCom connection; forms, docs and checks come from these descriptions."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from hub.connector.codes import ErrorRule

_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,40}")


class WeComSettings(BaseModel):
    """Settings of one WeCom connection: one self-built app of one corp."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        default="https://qyapi.weixin.qq.com/cgi-bin",
        description="address of the server API; a private deployment has its own host",
    )
    corp_id: str = Field(description="corpid of the company (ww... or wx...)")
    agent_id: int = Field(description="AgentId of the self-built app, which sends the messages")
    secret: SecretStr = Field(description="Secret of the self-built app")
    contact_secret: SecretStr | None = Field(
        default=None, description="secret of 通讯录同步; needed to write members alone"
    )
    customer_secret: SecretStr | None = Field(
        default=None, description="secret of 客户联系, where the company still has one; else the app's is used"
    )

    templates: dict[str, str] = Field(
        default_factory=dict,
        description="approval templates: name -> template id; each is an object `approval:NAME`",
    )
    robots: dict[str, SecretStr] = Field(
        default_factory=dict, description="group robots: name -> key of the webhook; each is an object `robot:NAME`"
    )
    stamp_label: str = Field(
        default="集成键",
        description="title of a text control in every template: the hub writes its key there and finds by it what it "
        "started",
    )
    use_template_approver: bool = Field(
        default=True, description="approvers come from the template's own flow; false: from the field `approvers`"
    )

    callback_token: SecretStr | None = Field(default=None, description="Token of the app's callback (接收消息)")
    callback_aes_key: SecretStr | None = Field(
        default=None, description="EncodingAESKey of the app's callback (43 characters)"
    )
    callback_window: float = Field(
        default=600.0, gt=0, description="seconds that a callback's timestamp may differ from the hub's clock"
    )
    clicked_text: str | None = Field(
        default=None,
        description="what stands on a card's button once somebody has pressed it; empty: it stays as it is",
    )

    approval_days: float = Field(
        default=90.0, gt=0, description="days that a first read and a full scan of approvals go back"
    )
    find_days: float = Field(
        default=31.0, gt=0, description="days that the search for an approval by its fields goes back"
    )
    watch_passed: float = Field(
        default=1.0,
        ge=0,
        description="days that a passed approval is still looked at, because it may be withdrawn or paid later",
    )
    duplicate_seconds: int = Field(
        default=14_400,
        ge=0,
        le=14_400,
        description="seconds within which the platform delivers the same message once; 0: no such check",
    )
    forget_unknown: float = Field(
        default=86_400.0,
        ge=0,
        description="seconds that a mobile or e-mail without a member is not asked for again",
    )
    lag: float = Field(
        default=5.0,
        ge=0,
        description="seconds that an incremental read stays behind now, so that late commits are seen",
    )
    overlap: float = Field(
        default=60.0, ge=0, description="seconds that each incremental read goes back over the one before"
    )
    describe_seconds: float = Field(default=600.0, ge=0, description="seconds that a template's description is kept")

    path_calls: int = Field(default=10_000, ge=1, description="calls of one interface a minute")
    approval_calls: int = Field(default=600, ge=1, description="calls of one approval read a minute")
    concurrency: int = Field(default=8, ge=1, le=64, description="calls that run at a time")
    page_size: int = Field(default=100, ge=1, le=100, description="records of one page")
    timeout: float = Field(default=30.0, gt=0, description="seconds that a read may take")
    errors: list[ErrorRule] = Field(
        default_factory=list, description="meanings of errcodes; they go before the built-in ones"
    )

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("must start with https://")
        return url.rstrip("/")

    @field_validator("callback_aes_key")
    @classmethod
    def _key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not re.fullmatch(r"[A-Za-z0-9+/]{43}", key.get_secret_value()):
            raise ValueError("must have 43 letters and digits, as the console shows them")
        return key

    @field_validator("templates", "robots")
    @classmethod
    def _names(cls, named: dict[str, object]) -> dict[str, object]:
        for name in named:
            if not _ALIAS.fullmatch(name):
                raise ValueError(f"'{name}' is no name: letters, digits, - and _")
        return named
