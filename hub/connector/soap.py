"""SOAP through zeep: messages from a WSDL, over the kit's HTTP, with no door left open for hostile XML."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import zeep
from lxml import etree  # type: ignore[import-untyped]
from zeep.exceptions import Error as ZeepError
from zeep.exceptions import Fault
from zeep.helpers import serialize_object
from zeep.wsdl.bindings import Soap12Binding

from hub.connector.http import BadAnswer, Http, Response
from hub.domain.errors import InvalidInput, VendorError

_MOST_DOCUMENTS = 100
_IMPORTS = ("location", "schemaLocation")
_TAGS = frozenset({"import", "include", "redefine"})


class SoapFault(VendorError):
    """The service answered with a fault: `code` is its faultcode; the vendor's table says what it means for a write."""


@dataclass(frozen=True, slots=True)
class Wsdl:
    """A WSDL with everything that it imports, by address. Nothing else is ever read or fetched for it."""

    main: str
    documents: Mapping[str, bytes]

    @classmethod
    def from_file(cls, path: Path) -> Wsdl:
        """Read a WSDL and its imports; they must lie in its own folder or below. Raises InvalidInput."""
        root = path.resolve().parent
        documents: dict[str, bytes] = {}
        waiting = [path.resolve()]
        while waiting:
            file = waiting.pop()
            if str(file) in documents:
                continue
            if not file.is_relative_to(root):
                raise InvalidInput(f"{path.name} imports {file}, which lies outside of its folder")
            try:
                documents[str(file)] = file.read_bytes()
            except OSError as error:
                raise InvalidInput(f"{path.name} imports {file.name}, which can't be read: {error}") from error
            for location in _imports(documents[str(file)], str(file)):
                if urlsplit(location).scheme:
                    raise InvalidInput(f"{file.name} imports {location} from the network", hint="put a copy beside it")
                waiting.append((file.parent / location).resolve())
        return cls(str(path.resolve()), documents)

    @classmethod
    async def from_url(cls, http: Http, url: str) -> Wsdl:
        """Fetch a WSDL and its imports; they must come from the same scheme, host and port. Raises InvalidInput."""
        home = urlsplit(url)[:2]
        documents: dict[str, bytes] = {}
        waiting = [url]
        while waiting:
            address = waiting.pop()
            if address in documents:
                continue
            if urlsplit(address)[:2] != home:
                raise InvalidInput(f"the WSDL imports {address}, which is another host", hint="keep a copy as a file")
            if len(documents) == _MOST_DOCUMENTS:
                raise InvalidInput(f"the WSDL imports more than {_MOST_DOCUMENTS} documents")
            answer = await http.read("GET", address)
            if answer.status != 200:
                raise BadAnswer(f"{answer.where} answered {answer.status} instead of a WSDL: {answer.excerpt()}")
            documents[address] = answer.body
            waiting.extend(urljoin(address, location) for location in _imports(answer.body, address))
        return cls(url, documents)


class Soap:
    """One port of a service.

    `call` sends once, `ask` repeats what is safe to repeat; both give plain JSON-like values, decimals as text.
    `address` replaces the one that stands in the WSDL, which is often of another network.
    """

    def __init__(
        self,
        wsdl: Wsdl,
        http: Http,
        *,
        address: str | None = None,
        service: str | None = None,
        port: str | None = None,
    ) -> None:
        # Imports need no ban here: `_Documents` knows those of the WSDL and fetches nothing.
        settings = zeep.Settings(strict=True, xml_huge_tree=False, forbid_dtd=True, forbid_entities=True)
        try:
            documents = _Documents(wsdl.documents)
            self._client = zeep.Client(wsdl.main, transport=documents, settings=settings)  # type: ignore[no-untyped-call]
            services = self._client.wsdl.services
            found = services[service] if service else next(iter(services.values()))
            chosen = found.ports[port] if port else next(iter(found.ports.values()))
            self._port = self._client.bind(found.name, chosen.name)
        except (ZeepError, etree.XMLSyntaxError, ValueError) as error:
            raise InvalidInput(f"the WSDL can't be used: {error}") from error
        except (KeyError, StopIteration) as error:
            raise InvalidInput(f"the WSDL has no service or port {service or ''} {port or ''}".rstrip()) from error
        self._binding = chosen.binding
        if address is not None:
            http.trust(address)
        self._address = address or chosen.binding_options["address"]
        self._http = http

    @property
    def operations(self) -> list[str]:
        return sorted(self._binding.all())

    async def call(self, operation: str, arguments: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """Send once. Raises SoapFault, TransportFailure, BadAnswer, or InvalidInput if the arguments don't fit."""
        return await self._exchange(self._http.send, operation, arguments, timeout)

    async def ask(self, operation: str, arguments: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """Like `call`, for reads and log-ins: repeated after what passes."""
        return await self._exchange(self._http.read, operation, arguments, timeout)

    async def _exchange(
        self,
        send: Callable[..., Awaitable[Response]],
        operation: str,
        arguments: Mapping[str, Any],
        timeout: float | None,
    ) -> Any:
        try:
            found = self._binding.get(operation)
            envelope = self._client.create_message(self._port, operation, **arguments)  # type: ignore[no-untyped-call]
        except (ZeepError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{operation}: {error}", hint=f"known are {', '.join(self.operations)}") from error
        content = etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
        headers = self._headers(found.soapaction or "")
        answer = await send("POST", self._address, content=content, headers=headers, timeout=timeout)
        return self._read(operation, found, answer)

    def _headers(self, action: str) -> dict[str, str]:
        if isinstance(self._binding, Soap12Binding):
            return {"Content-Type": f'application/soap+xml; charset=utf-8; action="{action}"'}
        return {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'}

    def _read(self, operation: str, found: Any, answer: Response) -> Any:
        try:
            result = self._binding.process_reply(self._client, found, _Reply.of(answer))
        except Fault as fault:
            message = self._http.redact(f"{operation}: {fault.message}")
            raise SoapFault(message, code=str(fault.code or ""), retryable=False) from None
        except (ZeepError, etree.XMLSyntaxError, ValueError, LookupError) as error:
            reason = self._http.redact(type(error).__name__)
            raise BadAnswer(
                f"{operation} answered {answer.status} with what its WSDL does not say ({reason}): {answer.excerpt()}"
            ) from None
        return _plain(serialize_object(result, dict))  # type: ignore[no-untyped-call]


class _Documents:
    """Gives zeep the documents of a WSDL, and nothing else."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    def load(self, url: str) -> bytes:
        try:
            return self._documents[url]
        except KeyError:
            raise ValueError(f"{url} is not part of the WSDL") from None


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer with the names that zeep reads."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    encoding: str = "utf-8"

    @classmethod
    def of(cls, answer: Response) -> _Reply:
        return cls(answer.status, answer.headers, answer.body)


def _imports(document: bytes, where: str) -> list[str]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        tree = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise InvalidInput(f"{where} is not XML: {error}") from error
    if tree.getroottree().docinfo.doctype:
        raise InvalidInput(f"{where} has a DOCTYPE, which a WSDL does not need", hint="take it out")
    elements = (element for element in tree.iter() if isinstance(element.tag, str))
    importing = (element for element in elements if etree.QName(element).localname in _TAGS)
    return [element.get(name) for element in importing for name in _IMPORTS if element.get(name)]


def _plain(value: Any) -> Any:
    """JSON without floats, as records hold it."""
    match value:
        case dict():
            return {str(name): _plain(member) for name, member in value.items()}
        case list() | tuple():
            return [_plain(member) for member in value]
        case Decimal():
            return format(value, "f")
        case float():
            return format(Decimal(repr(value)), "f")
        case bytes():
            return base64.b64encode(value).decode()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return str(value.total_seconds())
        case str() | int() | bool() | None:
            return value
        case _ if isinstance(value, etree._Element):
            return etree.tostring(value, encoding="unicode")
        case _:
            return str(value)
