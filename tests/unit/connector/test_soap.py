from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest
import respx

from hub.connector.http import BadAnswer, Http, TransportFailure
from hub.connector.soap import Soap, SoapFault, Wsdl
from hub.domain.clock import SystemClock
from hub.domain.errors import InvalidInput

TYPES = """<?xml version="1.0"?>
<xsd:schema xmlns:xsd="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:stock" elementFormDefault="qualified">
  <xsd:element name="Ask"><xsd:complexType><xsd:sequence>
    <xsd:element name="item" type="xsd:string"/></xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="Tell"><xsd:complexType><xsd:sequence>
    <xsd:element name="amount" type="xsd:decimal"/><xsd:element name="ratio" type="xsd:double"/>
    <xsd:element name="on" type="xsd:date"/><xsd:element name="place" type="xsd:string" maxOccurs="unbounded"/>
  </xsd:sequence></xsd:complexType></xsd:element>
</xsd:schema>"""
WSDL = """<?xml version="1.0"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:s="urn:stock" xmlns:xsd="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:stock">
  <types><xsd:schema><xsd:import namespace="urn:stock" schemaLocation="stock.xsd"/></xsd:schema></types>
  <message name="In"><part name="body" element="s:Ask"/></message>
  <message name="Out"><part name="body" element="s:Tell"/></message>
  <portType name="Port"><operation name="Stock"><input message="s:In"/><output message="s:Out"/></operation></portType>
  <binding name="Binding" type="s:Port">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>
    <operation name="Stock"><soap:operation soapAction="urn:stock#Stock"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation>
  </binding>
  <service name="Service"><port name="Port" binding="s:Binding"><soap:address location="http://erp.test/ws"/></port>
  </service>
</definitions>"""
ENVELOPE = '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{}</e:Body></e:Envelope>'
TELL = """<Tell xmlns="urn:stock"><amount>1200.00</amount><ratio>0.5</ratio><on>2026-01-06</on>
<place>A</place><place>仓库</place></Tell>"""
FAULT = "<e:Fault><faultcode>e:Server</faultcode><faultstring>no such item, password hunter2</faultstring></e:Fault>"
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.fixture
def http() -> Http:
    return Http("http://erp.test", clock=SystemClock(), logger=logging.getLogger("test"), secrets=["hunter2"])


@pytest.fixture
def wsdl(tmp_path: Path) -> Path:
    (tmp_path / "stock.wsdl").write_text(WSDL)
    (tmp_path / "stock.xsd").write_text(TYPES)
    return tmp_path / "stock.wsdl"


@respx.mock
async def test_a_call_gives_plain_values(http: Http, wsdl: Path) -> None:
    route = respx.post("http://erp.test/ws").respond(text=ENVELOPE.format(TELL), headers={"Content-Type": "text/xml"})
    soap = Soap(Wsdl.from_file(wsdl), http)

    assert soap.operations == ["Stock"]
    assert await soap.call("Stock", {"item": "螺丝 <M4>"}) == {
        "amount": "1200.00",
        "ratio": "0.5",
        "on": "2026-01-06",
        "place": ["A", "仓库"],
    }
    sent = route.calls.last.request
    assert sent.headers["soapaction"] == '"urn:stock#Stock"'
    assert "螺丝 &lt;M4&gt;" in sent.content.decode()


@respx.mock
async def test_another_address_replaces_the_one_of_the_wsdl(http: Http, wsdl: Path) -> None:
    route = respx.post("http://inner.test/ws").respond(text=ENVELOPE.format(TELL))
    await Soap(Wsdl.from_file(wsdl), http, address="http://inner.test/ws").call("Stock", {"item": "x"})
    assert route.call_count == 1


@respx.mock
async def test_a_fault_is_typed_and_shows_no_secret(http: Http, wsdl: Path) -> None:
    respx.post("http://erp.test/ws").respond(500, text=ENVELOPE.format(FAULT))
    with pytest.raises(SoapFault, match="no such item") as caught:
        await Soap(Wsdl.from_file(wsdl), http).call("Stock", {"item": "x"})
    assert caught.value.code == "e:Server"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("body", ["", "<html>login</html>", ENVELOPE.format("<Tell>"), BOMB + ENVELOPE.format(TELL)])
@respx.mock
async def test_what_is_no_answer_is_a_bad_answer(http: Http, wsdl: Path, body: str) -> None:
    respx.post("http://erp.test/ws").respond(200, text=body)
    with pytest.raises(BadAnswer):
        await Soap(Wsdl.from_file(wsdl), http).call("Stock", {"item": "x"})


@respx.mock
async def test_a_call_is_sent_once(http: Http, wsdl: Path) -> None:
    route = respx.post("http://erp.test/ws").mock(side_effect=httpx.ReadTimeout("silence"))
    with pytest.raises(TransportFailure) as caught:
        await Soap(Wsdl.from_file(wsdl), http).call("Stock", {"item": "x"})
    assert caught.value.sent
    assert route.call_count == 1


async def test_arguments_that_do_not_fit_are_told(http: Http, wsdl: Path) -> None:
    soap = Soap(Wsdl.from_file(wsdl), http)
    with pytest.raises(InvalidInput, match="colour"):
        await soap.call("Stock", {"colour": "red"})
    with pytest.raises(InvalidInput, match="Stok") as caught:
        await soap.call("Stok", {})
    assert "Stock" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://evil.test/x.xsd", "from the network"),
        ("../../etc/passwd", "outside of its folder"),
        ("file:///etc/passwd", "from the network"),
        ("none.xsd", "can't be read"),
    ],
)
def test_a_file_imports_only_from_its_folder(wsdl: Path, location: str, words: str) -> None:
    wsdl.write_text(WSDL.replace("stock.xsd", location))
    with pytest.raises(InvalidInput, match=words):
        Wsdl.from_file(wsdl)


def test_a_doctype_is_refused(wsdl: Path) -> None:
    wsdl.write_text(WSDL.replace("<definitions", BOMB + "<definitions", 1))
    with pytest.raises(InvalidInput, match="DOCTYPE"):
        Wsdl.from_file(wsdl)


@respx.mock
async def test_a_wsdl_is_fetched_with_its_imports(http: Http) -> None:
    respx.get("http://erp.test/ws?wsdl").respond(text=WSDL)
    respx.get("http://erp.test/stock.xsd").respond(text=TYPES)
    wsdl = await Wsdl.from_url(http, "http://erp.test/ws?wsdl")
    assert Soap(wsdl, http).operations == ["Stock"]


@respx.mock
async def test_a_fetched_wsdl_leads_to_no_other_host(http: Http) -> None:
    respx.get("http://erp.test/ws?wsdl").respond(text=WSDL.replace("stock.xsd", "http://169.254.169.254/x"))
    with pytest.raises(InvalidInput, match="another host"):
        await Wsdl.from_url(http, "http://erp.test/ws?wsdl")
