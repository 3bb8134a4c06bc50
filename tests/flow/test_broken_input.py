"""What bad input and broken surroundings get: a sentence with place and next step, an exit code, and nothing lost."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.cli import main
from hub.connector.serving import serve
from hub.runtime.connectors import Installed
from hub.runtime.owner import owner_of
from hub.store.lock import FileLock

Capture = pytest.CaptureFixture[str]


class Company:
    """Both simulators, in a thread of their own, since every command is a loop of its own."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        installed = Installed.here()
        crm: Any = installed.simulator("fxiaoke")()
        erp: Any = installed.simulator("kingdee")()
        async with serve(crm) as crm_at, serve(erp) as erp_at:
            self.addresses = {"crm": crm_at.base_url, "erp": erp_at.base_url}
            self._ready.set()
            await self._over.wait()

    def post(self, system: str, what: str, body: Any) -> Any:
        answer = httpx.post(f"{self.addresses[system]}/_sim/{what}", json=body, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    made = Company()
    made.start()
    yield made
    made.end()


@pytest.fixture
def shop(company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    monkeypatch.delenv("HUB_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main.run(["init", "shop"]) == 0
    file = tmp_path / "shop" / "hub.yaml"
    text = file.read_text(encoding="utf-8").replace("http://127.0.0.1:9001", company.addresses["crm"])
    file.write_text(text.replace("http://127.0.0.1:9002", company.addresses["erp"]), encoding="utf-8")
    monkeypatch.chdir(file.parent)
    capsys.readouterr()
    return file.parent


def told(capsys: Capture, *arguments: str, code: int) -> str:
    """What a command says, on both streams. It leaves with this code and shows no traceback."""
    assert main.run(list(arguments)) == code
    found = capsys.readouterr()
    text = found.out + found.err
    assert "Traceback" not in text
    assert "Something went wrong inside" not in text
    return text


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.search(before, text), before
    file.write_text(re.sub(before, after, text, count=1), encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"systems:\n  crm: [\n", "hub.yaml:3:1: This is not YAML"),
        (b"a:\n\t- x\n", "hub.yaml:2:1: This is not YAML"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"", "has to be a map with `systems:` and `flows:`"),
        (b"- 1\n", "has to be a map with `systems:` and `flows:`"),
        (b"systems: &a {}\nflows: *a\n", "Anchors and aliases are not used here"),
        (b"flows: {a: {mapping: x.yaml, every: fast}}\n", "hub.yaml:1:37: `every`: a length of time looks like"),
        (b"systems: {erp: {connector: kingdom}}\n", "did you mean `kingdee`?"),
        (b"flows: {a: {mapping: x.yaml, priority: high}}\n", "`priority` has to be a whole number"),
        (b"store: mysql://x\n", "hub.yaml:1:8: `url`: the store is SQLite or PostgreSQL"),
        (b"names: {crm: {a: b}}\n", "`systems:` has no such system"),
    ],
)
def test_a_broken_hub_yaml(shop: Path, capsys: Capture, content: bytes, said: str) -> None:
    (shop / "hub.yaml").write_bytes(content)
    assert said in told(capsys, "check", code=2)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("entity: product", "entity: [", "This is not YAML"),
        ("name: +FName", "nmae: FName", "did you mean name?"),
        ("system: erp", "system: epr", "did you mean `erp`?"),
        ("object: BD_MATERIAL", "object: BD_MATERIEL", "did you mean BD_MATERIAL?"),
        ("\nfields:", "\nfeilds:", "did you mean `fields`?"),
    ],
)
def test_a_broken_mapping(shop: Path, capsys: Capture, before: str, after: str, said: str) -> None:
    edit(shop / "mappings" / "products.yaml", before, after)
    text = told(capsys, "mapping", "check", "--offline", code=2)
    assert said in text
    assert "mappings/products.yaml:" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sync", "prodcuts"], "did you mean `products`?"),
        (["sync", "products", "--since", "tomorrowish"], "name a moment as 2h or 3d (ago)"),
        (["sync", "products", "--full", "--since", "2d"], "exclude each other"),
        (["sync", "products", "--full", "--dry-run"], "A dry run looks at some records"),
        (["deliveries", "retry"], "an empty filter would name every delivery"),
        (["ids", "link", "a", "b"], "write a record as SYSTEM:OBJECT:ID"),
        (["ids", "import", "nope.csv"], "There is no file nope.csv"),
        (["why", "nothing"], "the hub knows nothing by the name of 'nothing'"),
        (["mapping", "run", "products", "--record", "x"], "erp has no BD_MATERIAL x"),
        (["run", "--port", "99999"], "less than or equal to 65535"),
        (["reconcile", "products", "--allow-deletes", "-1"], "greater than or equal to 0"),
    ],
)
def test_wrong_arguments(shop: Path, capsys: Capture, arguments: list[str], said: str) -> None:
    assert said in told(capsys, *arguments, code=2)


def test_a_record_that_the_source_does_not_have_is_named(shop: Path, capsys: Capture) -> None:
    assert "The source has no record 999." in told(capsys, "sync", "products", "--record", "999", code=0)


def test_a_system_that_is_not_there(shop: Path, company: Company, capsys: Capture) -> None:
    edit(shop / "hub.yaml", re.escape(company.addresses["erp"]), "http://127.0.0.1:9")
    for command in (["check"], ["sync", "products"], ["reconcile", "products"], ["link", "products"]):
        text = told(capsys, *command, code=3)
        assert "check that 127.0.0.1:9 can be reached from this machine" in text
    assert "erp: " in told(capsys, "sync", "products", code=3)


@pytest.mark.parametrize(("system", "flow"), [("CRM", "orders-to-erp"), ("ERP", "products")])
def test_wrong_credentials(shop: Path, capsys: Capture, system: str, flow: str) -> None:
    edit(shop / ".env", f"{system}_APP_SECRET=.*", f"{system}_APP_SECRET=not-the-secret")
    for command in (["check"], ["sync", flow]):
        text = told(capsys, *command, code=3)
        assert "app_secret" in text
        assert "not-the-secret" not in text


def test_a_missing_secret_is_named_with_its_place(shop: Path, capsys: Capture) -> None:
    edit(shop / ".env", "ERP_APP_SECRET=.*\n", "")
    text = told(capsys, "sync", "products", code=2)
    assert re.search(r"hub\.yaml:\d+:\d+: .*ERP_APP_SECRET is not set", text)


@pytest.mark.parametrize("fault", ["malformed", "truncated"])
def test_an_answer_that_is_no_answer(shop: Path, company: Company, capsys: Capture, fault: str) -> None:
    assert main.run(["check"]) == 0
    capsys.readouterr()
    company.post("erp", "faults", [{"kind": fault, "times": 1000}])
    try:
        text = told(capsys, "sync", "products", code=3)
    finally:
        httpx.delete(f"{company.addresses['erp']}/_sim/faults", trust_env=False)
    assert "erp: " in text


def test_a_store_that_somebody_else_holds(shop: Path, capsys: Capture) -> None:
    assert main.run(["status"]) == 0
    lock = FileLock(shop / "hub.db")
    lock.take()
    try:
        text = told(capsys, "status", code=4)
    finally:
        lock.release()
    assert "hub.db is in use by" in text
    assert main.run(["status"]) == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////proc/hub.db", "/proc/hub.db"),
        ("postgresql://nobody:wrong@127.0.0.1:9/none", "127.0.0.1"),
    ],
)
def test_a_store_that_can_not_be_used(shop: Path, capsys: Capture, url: str, said: str) -> None:
    with (shop / "hub.yaml").open("a", encoding="utf-8") as file:
        file.write(f"store: {url}\n")
    text = told(capsys, "status", code=4)
    assert said in text
    assert "wrong@" not in text


def test_a_store_that_is_no_database(shop: Path, capsys: Capture) -> None:
    (shop / "hub.db").write_bytes(b"this is not a database, and it is long enough to look like one" * 40)
    assert "hub.db" in told(capsys, "status", code=4)


@pytest.mark.parametrize(
    "act",
    [
        lambda file: ["init", str(file / "below")],
        lambda file: ["ids", "export", str(file / "ids.csv")],
        lambda file: ["tables", "import", "x", str(file / "x.csv")],
    ],
)
def test_a_file_where_a_folder_should_be(shop: Path, capsys: Capture, act: Callable[[Path], list[str]]) -> None:
    (shop / "plain").write_text("", encoding="utf-8")
    told(capsys, *act(shop / "plain"), code=2)


def test_nobody_owns_the_store_after_all_this(shop: Path, capsys: Capture) -> None:
    from hub.runtime.config import load

    told(capsys, "status", code=0)
    assert owner_of(load(shop / "hub.yaml", Installed.here())) is None
