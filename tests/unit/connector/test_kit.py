from __future__ import annotations

import httpx

from hub.connector.kit import Kit
from hub.connector.redaction import Redactor
from hub.connector.tokens import MemoryTokens, Token
from hub.domain.clock import ManualClock


async def test_a_local_kit_gives_everything_a_connector_needs() -> None:
    clock = ManualClock()

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"path": request.url.path})

    kit = Kit.local("erp", clock=clock, transport=httpx.MockTransport(answer))
    http = kit.http("http://erp.test", secrets=["hidden-thing"])
    response = await http.send("GET", "/x")
    assert response.json() == {"path": "/x"}
    assert (response.asked, response.answered) == (clock.now(), clock.now())
    await kit.budgets.take("anything")
    assert kit.logger.name == "hub.connector.erp"
    assert "hidden-thing" not in repr(kit) + repr(http) + repr(response)
    await http.aclose()


async def test_systems_do_not_share_tokens_and_workers_do() -> None:
    tokens, logins = MemoryTokens(), []

    async def login() -> Token:
        logins.append(1)
        return Token(f"token-{len(logins)}")

    first, again = (Kit.local("erp", tokens=tokens).token_source("u1", login) for _ in range(2))
    other = Kit.local("crm", tokens=tokens).token_source("u1", login)
    assert (await first.token()).value == (await again.token()).value == "token-1"
    assert (await other.token()).value == "token-2"


def test_secrets_go_in_every_spelling_the_longest_first() -> None:
    redact = Redactor(["abcd", "abcd/efgh", "no"])
    assert redact("x abcd/efgh y abcd%2Fefgh z abcd") == "x *** y *** z ***"
    assert redact("no is too short to be a secret") == "no is too short to be a secret"
    redact.learn('quo"te')
    assert redact('{"a": "quo\\"te"} quo"te') == '{"a": "***"} ***'
    assert "abcd" not in repr(redact)
