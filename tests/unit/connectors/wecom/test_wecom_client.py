"""The protocol: log-ins by secret, refusals, limits, callbacks over sockets; settings, catalogue and README."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import connectors.wecom as package
from connectors.wecom.connector import WeComConnector
from connectors.wecom.settings import WeComSettings
from connectors.wecom.simulator import WeComSimulator
from hub.connector.contract import (
    Catalogued,
    Connector,
    Finds,
    HasFiles,
    Op,
    Reads,
    Receives,
    WebhookRequest,
    Write,
    Writes,
)
from hub.connector.faults import Fault, FaultKind
from hub.connector.kit import Kit
from hub.connector.readme import with_settings
from hub.connector.serving import serve
from hub.domain.errors import CredentialsRefused, NotFound, VendorError
from hub.domain.outcome import OutcomeKind
from tests.unit.connectors.wecom.conftest import Make, Stranger

FOLDER = Path(package.__file__).parent
CREDENTIALS: dict[str, Any] = {"corp_id": "ww1", "agent_id": 1, "secret": "app-secret"}
TEXT: dict[str, Any] = {"to": ["zhangsan"], "content": "x"}


def test_the_readmes_settings_are_those_of_the_model() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert with_settings(readme, WeComSettings) == readme


def test_the_readme_states_the_level_and_every_exemption() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"**{WeComConnector.manifest.level}**" in readme
    assert [case for case in WeComConnector.manifest.exempt if f"`{case}`" not in readme] == []


@pytest.mark.parametrize("power", [Connector, Catalogued, Reads, Finds, Writes, Receives, HasFiles])
def test_it_has_every_power_that_it_claims(connector: WeComConnector, power: type) -> None:
    assert isinstance(connector, power)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "qyapi.weixin.qq.com"},
        {"callback_aes_key": "short"},
        {"callback_aes_key": "!" * 43},
        {"templates": {"two words": "T"}},
        {"robots": {"a/b": "k"}},
        {"no_such_setting": 1},
        {"duplicate_seconds": 14_401},
    ],
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WeComSettings(**{**CREDENTIALS, **wrong})


def test_no_secret_shows_in_the_settings() -> None:
    text = repr(WeComSettings(**{**CREDENTIALS, "robots": {"sales": "key-of-robot"}}))
    assert "app-secret" not in text
    assert "key-of-robot" not in text


async def test_one_secret_is_one_log_in_whatever_it_is_used_for(simulator: WeComSimulator, make: Make) -> None:
    connector = make(customer_secret=None)
    await connector.get("member", ["zhangsan"])
    await connector.get("corp_tag", ["x"])
    assert simulator.counts["login"] == 1
    await make().get("corp_tag", ["x"])
    assert simulator.counts["login"] == 2


async def test_unknown_objects_name_what_is_near(connector: WeComConnector) -> None:
    for name, near in (("approval:discoun", "approval:discount"), ("robot:sale", "robot:sales"), ("membr", "member")):
        with pytest.raises(NotFound) as caught:
            await connector.describe(name)
        assert near in str(caught.value.hint)
    with pytest.raises(NotFound):
        await connector.children("member", "department", ["1"])


async def test_an_address_that_is_not_on_the_list_is_told_in_words(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    simulator.gate.allowed_addresses = ["10.0.0.1"]
    (finding,) = await connector.check()
    assert not finding.ok
    assert "60020" in finding.what
    assert "企业可信IP" in str(finding.hint)


async def test_a_right_that_is_missing_is_ours_and_not_the_records(make: Make) -> None:
    connector = make(contact_secret=None)
    with pytest.raises(CredentialsRefused, match="48002") as caught:
        await connector._client.read("user/list_id", {"limit": 1})
    assert "contact_secret" in str(caught.value.hint)


async def test_the_busy_platform_is_asked_again_by_a_read_and_not_by_a_write(
    simulator: WeComSimulator, connector: WeComConnector
) -> None:
    await connector.fingerprint()
    simulator.faults.arm(Fault(kind=FaultKind.HTTP_500, times=2))
    assert (await connector.get("member", ["zhangsan"]))[0].record is not None
    simulator.faults.arm(Fault(kind=FaultKind.HTTP_500, op="message/send"))
    (outcome,) = await connector.write("message:text", [Write(Op.CREATE, fields=TEXT)])
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert simulator.counts["message/send"] == 1


async def test_a_minutes_limit_is_waited_for(simulator: WeComSimulator, make: Make) -> None:
    simulator.gate.limits.approval_reads = 5
    connector = make(approval_calls=5)
    began = simulator.clock.now()
    for n in range(12):
        with pytest.raises(VendorError):
            await connector._client.read("oa/getapprovaldetail", {"sp_no": str(n)})
    assert simulator.clock.now() - began > 120_000


async def test_an_own_meaning_of_a_code_goes_first(simulator: WeComSimulator, make: Make) -> None:
    connector = make(errors=[{"code": 81013, "kind": "blocked", "hint": "put the receiver into the visible range"}])
    (outcome,) = await connector.write("message:text", [Write(Op.CREATE, fields={**TEXT, "to": ["nobody"]})])
    assert outcome.kind is OutcomeKind.BLOCKED


# ---- the simulator's gate --------------------------------------------------------------------------------------------


async def test_the_simulators_tokens_live_two_hours_and_are_given_again(
    simulator: WeComSimulator, stranger: Stranger
) -> None:
    first = await stranger.log_in()
    simulator.clock.advance(7000)
    again = await stranger.log_in()
    assert (first["access_token"], again["expires_in"] <= 200) == (again["access_token"], True)
    simulator.clock.advance(300)
    assert await stranger.code("user/get", userid="lisi") == 42001
    assert (await stranger.log_in())["access_token"] != first["access_token"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"corpsecret": "x"}, 40001), ({"corpid": "x"}, 40013), ({"corpid": ""}, 41002), ({"corpsecret": ""}, 41004)],
)
async def test_the_simulator_refuses_wrong_log_ins(stranger: Stranger, wrong: dict[str, str], code: int) -> None:
    assert (await stranger.log_in("app", **wrong))["errcode"] == code


async def test_the_simulator_refuses_calls_without_a_good_token(stranger: Stranger) -> None:
    stranger.tokens["app"] = ""
    assert await stranger.code("user/get", userid="lisi") == 41001
    stranger.tokens["app"] = "made-up"
    assert await stranger.code("user/get", userid="lisi") == 40014


async def test_the_simulator_wants_letters_and_not_their_numbers(stranger: Stranger) -> None:
    await stranger.log_in()
    query = {"access_token": stranger.tokens["app"]}
    answer = await stranger.http.post("/user/getuserid", params=query, content=b'{"mobile": "\\u4e2d"}')
    assert answer.json()["errcode"] == 40033
    answer = await stranger.http.post("/user/getuserid", params=query, content=b"{")
    assert answer.json()["errmsg"].startswith("Warning: wrong json format.")


# ---- callbacks over sockets ------------------------------------------------------------------------------------------


async def test_a_callback_is_verified_then_sent_three_times_and_no_more(simulator: WeComSimulator) -> None:
    simulator.callback_retries = (0.0, 0.0)
    seen: list[WebhookRequest] = []
    arrived = asyncio.Event()

    async def hook(request: Request) -> Response:
        body = await request.body()
        seen.append(WebhookRequest(request.method, "/", dict(request.query_params), {}, body, simulator.clock.now()))
        if request.method == "GET":
            return Response(connector.receive(seen[-1]).reply.body)
        if sum(one.method == "POST" for one in seen) == 3:
            arrived.set()
        return Response("busy", status_code=503)

    server = uvicorn.Server(uvicorn.Config(Starlette(routes=[Route("/", hook, methods=["GET", "POST"])]), port=0,
                                           log_config=None, lifespan="off"))  # fmt: skip
    async with serve(simulator):
        connector = WeComConnector(WeComSettings(**simulator.settings()), Kit.local("wecom"))
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
        try:
            assert await simulator.verify_callback(url)
            simulator.callback_url = url
            await simulator.change({"op": "update", "object": "member", "id": "lisi", "fields": {"name": "李四四"}})
            async with asyncio.timeout(20):
                await arrived.wait()
                while simulator._background:  # noqa: ASYNC110 - until nothing more is on its way
                    await asyncio.sleep(0.01)
        finally:
            server.should_exit = True
            await task
            await connector.aclose()
    posts = [one for one in seen if one.method == "POST"]
    received = [connector.receive(one) for one in posts]
    assert len(posts) == 3
    assert [(one.object, one.id) for one in received[0].events] == [("member", "lisi")]
    assert len({one.dedupe for one in received}) == 1
