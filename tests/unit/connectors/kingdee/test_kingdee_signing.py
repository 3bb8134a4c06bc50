"""The signatures, against vectors that were checked with the vendor's own SDKs."""

from __future__ import annotations

from connectors.erp.kingdee.signing import client_secret, login_sign, signed_headers

WHO = {
    "acct_id": "6512f0a1b2c3d4",
    "username": "crmhub",
    "app_id": "300001_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY",
    "app_secret": "0123456789abcdef0123456789abcdef",
}
NOW = 1_700_000_000
URL = "http://erp.example.com/k3cloud/Kingdee.BOS.WebApi.ServicesStub.DynamicFormService.ExecuteBillQuery.common.kdsvc"


def test_login_by_sign_sha256() -> None:
    sign = login_sign(**WHO, timestamp=NOW, algorithm="sha256")
    assert sign == "cef853a18523b11564ff367a5b177b694ce09a325370b3f47195f5a94c3ead4e"


def test_login_by_sign_of_old_servers() -> None:
    assert login_sign(**WHO, timestamp=NOW, algorithm="sha1") == "6829176723f9160cf1273717d2f58f7dae7b9919"


def test_client_secret_is_unfolded_from_the_application_id() -> None:
    assert client_secret(WHO["app_id"]) == "MTI2MGM1Pj9qPDk/OT04KHMiKnd0IXMr"
    assert client_secret("300001_short") == ""
    assert client_secret("without") == ""


def test_signed_headers_equal_those_of_the_official_sdk() -> None:
    headers = signed_headers(URL, **WHO, lcid=2052, org_num="100", timestamp=NOW)
    assert headers["X-Api-ClientID"] == "300001"
    assert headers["X-Api-Signature"] == (
        "ZDQ4NTViM2EzY2VjYjI1OTY2MmZjZjVhNjE0OTZiNDA3MmY4M2VjYzNlZDQ1YTNkMmY1NDdlNzQxYzI4OWMzYw=="
    )
    assert headers["X-Kd-Appdata"] == "NjUxMmYwYTFiMmMzZDQsY3JtaHViLDIwNTIsMTAw"
    assert headers["X-Kd-Signature"] == (
        "ODg5NmNiYjJiNmUzNDEyZTMyZDk4OGU5MGQzY2I3OWY3MGNlYzNjZjhjNDFjZjRiMzA0OGE2MzYxMzc1YTczMQ=="
    )
