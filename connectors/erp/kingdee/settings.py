"""The settings of one connection to a K/3 Cloud data centre."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from hub.connector.codes import ErrorRule


class KingdeeSettings(BaseModel):
    """What the hub must know to work with one data centre."""

    model_config = ConfigDict(extra="forbid")

    server_url: str = Field(description="address of the server with its path, such as https://erp.example.com/k3cloud/")
    acct_id: str = Field(description="id of the data centre (账套), from 公共设置 > WebAPI")
    username: str = Field(description="the integration user; not Administrator")
    app_id: str = Field(description="id of the application, from 第三方系统登录授权")
    app_secret: SecretStr = Field(description="secret of the application")
    auth: Literal["login_by_sign", "signed_headers"] = Field(
        default="login_by_sign",
        description="log in once and keep a session, or sign every request as the official SDKs do",
    )
    sign_algorithm: Literal["sha256", "sha1"] = Field(
        default="sha256", description="of LoginBySign; sha1 for servers older than patch PT-146911 (8.0.0.202205)"
    )
    lcid: int = Field(
        default=2052, description="language of names and messages: 2052 Chinese, 1033 English, 3076 traditional"
    )
    org_num: str = Field(
        default="0",
        description="organisation to work in, whose base data alone is read (0: the user's own, and base data of all)",
    )
    timezone: str = Field(default="Asia/Shanghai", description="zone of the server's clock: its times carry no offset")
    sessions: int = Field(
        default=2, ge=1, le=8, description="sessions used side by side; the server answers one call at a time in each"
    )
    page_size: int = Field(default=500, ge=1, le=2000, description="records a page of a read")
    timeout: float = Field(default=120.0, gt=0, description="seconds that a read may take")
    overlap: float = Field(
        default=600.0,
        ge=0,
        description="seconds that a read goes back behind the last one, for late commits and clocks that differ",
    )
    stamp_field: str = Field(default="F_HUB_KEY", description="custom text field of a form that carries the hub's key")
    row_stamp_field: str = Field(
        default="F_HUB_ROW", description="custom text field of a table that carries the hub's key of a row"
    )
    filters: dict[str, str] = Field(
        default_factory=dict, description="by form: a condition of Kingdee's own kind that every record read must meet"
    )
    read_status: list[str] = Field(
        default_factory=list, description="document states that are read, such as [C]; empty: all of them"
    )
    forms: list[str] = Field(
        default_factory=list, description="further forms of this data centre that the hub should offer"
    )
    errors: list[ErrorRule] = Field(
        default_factory=list, description="rules for refusals, asked before the connector's own"
    )
    ca_file: Path | None = Field(
        default=None, description="certificate of a private authority that signed the server's own"
    )

    @field_validator("server_url")
    @classmethod
    def _url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http://)")
        return url.rstrip("/") + "/"

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"'{name}' is no time zone; one is Asia/Shanghai") from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)
