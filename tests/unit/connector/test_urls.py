from __future__ import annotations

import pytest

from hub.connector.urls import require_foreign_address, require_reachable_address, require_web_address
from hub.domain.errors import InvalidInput, Unreachable


@pytest.mark.parametrize(
    "url",
    [
        "https://open.fxiaoke.com",
        "http://192.168.1.20:8080/K3Cloud/",
        "http://10.0.0.5",
        "http://localhost:9001",
        "https://[fd12:3456::1]/x",
    ],
)
def test_systems_of_a_company_are_allowed(url: str) -> None:
    assert require_web_address(f" {url} ") == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://erp.test",
        "file:///etc/passwd",
        "erp.test/api",
        "http://",
        "",
        "javascript:alert(1)",
        "http://user:pass-word@erp.test",
        "http://erp.test:99999",
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.0.7",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://0xA9FEA9FE/",
        "http://0251.0376.0251.0376/",
        "http://100.100.100.200/latest",
        "http://metadata.google.internal./computeMetadata",
        "http://0.0.0.0",
        "http://224.0.0.1",
    ],
)
def test_what_could_be_turned_against_us_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        require_web_address(url)
    assert caught.value.hint
    assert "pass-word" not in str(caught.value)


def test_link_local_can_be_allowed() -> None:
    assert require_web_address("http://169.254.0.7", allow_link_local=True)


async def test_a_name_is_judged_by_where_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    loop = asyncio.get_running_loop()

    async def lookup(host: str, *_: object, **__: object) -> list[object]:
        if host == "nowhere.test":
            raise OSError("unknown")
        return [(2, 1, 6, "", ("169.254.169.254" if host == "evil.test" else "10.0.0.5", 0))]

    monkeypatch.setattr(loop, "getaddrinfo", lookup)
    assert await require_reachable_address("http://erp.test") == "http://erp.test"
    with pytest.raises(InvalidInput):
        await require_reachable_address("http://evil.test")
    with pytest.raises(Unreachable):
        await require_reachable_address("http://nowhere.test")


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server: public.test is outside, everything else inside."""
    import asyncio

    async def lookup(host: str, *_: object, **__: object) -> list[object]:
        known = {"public.test": "8.8.8.8", "cloud.test": "1.1.1.1", "mapped.test": "::ffff:10.0.0.7"}
        return [(2, 1, 6, "", (known.get(host, host if host[0].isdigit() else "10.0.0.5"), 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)


@pytest.mark.parametrize(
    ("url", "of", "allowed"),
    [
        ("https://public.test/file", "https://cloud.test", True),
        ("https://public.test/file", "http://erp.inside", True),
        ("http://erp.inside/file", "https://cloud.test", False),
        ("http://127.0.0.1:8300/api/v1", "https://cloud.test", False),
        ("http://mapped.test/file", "https://cloud.test", False),
        ("http://files.inside/file", "http://erp.inside", True),
        ("http://127.0.0.1:9002/file", "http://127.0.0.1:9001", True),
        ("http://169.254.169.254/latest", "http://127.0.0.1:9001", False),
        ("file:///etc/passwd", "https://cloud.test", False),
    ],
)
async def test_an_address_in_data_leads_no_cloud_into_the_companys_network(
    names: None, url: str, of: str, allowed: bool
) -> None:
    if allowed:
        assert await require_foreign_address(url, of=of) == url
    else:
        with pytest.raises(InvalidInput):
            await require_foreign_address(url, of=of)
