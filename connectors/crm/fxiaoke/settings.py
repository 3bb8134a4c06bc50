"""What a connection to Fxiaoke needs to know; forms, docs and checks come from these descriptions."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from hub.connector.codes import ErrorRule


class FxiaokeSettings(BaseModel):
    """Settings of one Fxiaoke connection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        default="https://open.fxiaoke.com",
        description="address of the open platform for the tenant's cloud: https://open-<login domain>",
    )
    app_id: str = Field(description="appId of the self-built app (FSAID_...)")
    app_secret: SecretStr = Field(description="appSecret of the app")
    permanent_code: SecretStr = Field(description="the enterprise's permanent authorisation code for the app")
    auth: Literal["header", "body"] = Field(
        default="header", description="'header': current token style; 'body': the legacy corpAccessToken style"
    )
    user_id: str = Field(
        default="1000", description="employee id that the hub acts as; its rights decide what the hub sees and may do"
    )
    mobile: str | None = Field(
        default=None, description="mobile number of the acting employee; needed by the body style alone"
    )
    ea: str | None = Field(
        default=None, description="enterprise account that callbacks must name; empty: the signature alone decides"
    )
    timezone: str = Field(default="Asia/Shanghai", description="time zone of the tenant's days")

    aes_key: SecretStr | None = Field(
        default=None, description="secret of the data change callback (base64, 44 characters)"
    )
    app_token: SecretStr | None = Field(default=None, description="token of the app callback (older protocol)")
    app_aes_key: SecretStr | None = Field(
        default=None, description="encodingAesKey of the app callback (43 characters)"
    )
    callback_window: float = Field(
        default=3600.0, gt=0, description="seconds that a callback's sending time may differ from the hub's clock"
    )

    path_calls: int = Field(default=100, ge=1, description="calls allowed for one interface within `path_seconds`")
    path_seconds: float = Field(default=20.0, gt=0, description="length of that window in seconds")
    day_calls: int = Field(default=100_000, ge=1, description="calls bought for one day (the tenant's quota packs)")
    concurrency: int = Field(default=8, ge=1, le=64, description="calls of one write batch that run at a time")
    page_size: int = Field(default=100, ge=1, le=100, description="records of one page")
    timeout: float = Field(default=60.0, gt=0, description="seconds that a read may take")

    lag: float = Field(
        default=5.0,
        ge=0,
        description="seconds that an incremental read stays behind now, so that late commits are seen",
    )
    overlap: float = Field(
        default=300.0, ge=0, description="seconds that each incremental read goes back over the one before"
    )
    describe_seconds: float = Field(default=600.0, ge=0, description="seconds that an object's description is kept")

    trigger_approval: bool = Field(default=False, description="writes start approval flows")
    trigger_workflow: bool = Field(default=False, description="writes start workflows")
    duplicate_search: bool = Field(default=False, description="creates and updates run the tenant's duplicate check")
    validation_rules: bool = Field(default=True, description="writes run the tenant's validation rules")
    skip_function_validation: bool = Field(default=False, description="writes skip the pre-validation function")

    stamp_field: str = Field(
        default="hub_key__c", description="unique text field for the hub's key; used on objects that have it"
    )
    details: dict[str, list[str]] = Field(
        default_factory=dict, description="detail objects of custom masters: {object_a__c: [object_b__c]}"
    )
    learn_missing: bool = Field(
        default=True, description="learn the code for 'no such record' by asking for an id that can't exist"
    )
    errors: list[ErrorRule] = Field(
        default_factory=list, description="meanings of this tenant's own error codes; they go before the built-in ones"
    )

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("must start with https://")
        return url.rstrip("/")

    @field_validator("aes_key", "app_aes_key")
    @classmethod
    def _key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            text = key.get_secret_value()
            try:
                length = len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
            except binascii.Error:
                raise ValueError("is not base64") from None
            if length != 32:
                raise ValueError(f"holds {length} bytes instead of 32")
        return key

    @model_validator(mode="after")
    def _body_style_needs_a_person(self) -> FxiaokeSettings:
        if self.auth == "body" and not self.mobile:
            raise ValueError("auth: body needs `mobile`, the number of the employee to act as")
        return self
