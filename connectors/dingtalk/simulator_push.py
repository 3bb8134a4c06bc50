"""How the simulated DingTalk tells of events: sealed posts over HTTP, or frames of a Stream connection."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
from collections import deque
from typing import Any
from urllib.parse import urlencode

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from starlette.websockets import WebSocket, WebSocketDisconnect

from connectors.dingtalk.simulator_gate import Denied

_TICKET_LIFE = 90.0


class Sealer:
    """The vendor's side of the callback crypto, written after its own published class."""

    def __init__(self, token: str, aes_key: str, owner: str) -> None:
        self.token = token
        self.aes_key = aes_key
        self.owner = owner
        self._key = base64.b64decode(aes_key + "=")

    def seal(self, text: str, *, random: bytes | None = None) -> str:
        message = text.encode()
        plain = (random or secrets.token_hex(8).encode()) + struct.pack(">I", len(message)) + message
        plain += self.owner.encode()
        count = 32 - len(plain) % 32
        cipher = Cipher(algorithms.AES(self._key), modes.CBC(self._key[:16])).encryptor()
        return base64.b64encode(cipher.update(plain + bytes([count]) * count) + cipher.finalize()).decode()

    def open(self, sealed: str) -> str:
        cipher = Cipher(algorithms.AES(self._key), modes.CBC(self._key[:16])).decryptor()
        plain = cipher.update(base64.b64decode(sealed)) + cipher.finalize()
        plain = plain[: -plain[-1]]
        (length,) = struct.unpack(">I", plain[16:20])
        if plain[20 + length :].decode() != self.owner:
            raise ValueError("another owner")
        return plain[20 : 20 + length].decode()

    def sign(self, timestamp: str, nonce: str, sealed: str) -> str:
        return hashlib.sha1("".join(sorted([self.token, timestamp, nonce, sealed])).encode()).hexdigest()  # noqa: S324

    def query(self, sealed: str, at: int) -> dict[str, str]:
        """What stands in the address beside the sealed body: both names of the signature, as live pushes have them."""
        nonce = secrets.token_hex(4)
        sign = self.sign(str(at), nonce, sealed)
        return {"signature": sign, "msg_signature": sign, "timestamp": str(at), "nonce": nonce}

    def address(self, url: str, sealed: str, at: int) -> str:
        return f"{url}{'&' if '?' in url else '?'}{urlencode(self.query(sealed, at))}"

    def says_success(self, body: bytes) -> bool:
        """Whether a reply is the sealed and signed word `success`."""
        try:
            reply = json.loads(body)
            sealed = reply["encrypt"].replace("\n", "")
            good = reply["msg_signature"] == self.sign(reply["timeStamp"], reply["nonce"], reply["encrypt"])
            return bool(good and self.open(sealed) == "success")
        except (ValueError, KeyError, TypeError, struct.error, IndexError):
            return False


class Connection:
    """One Stream connection and what was sent over it without an answer yet."""

    def __init__(self, socket: WebSocket, id: str) -> None:
        self.socket = socket
        self.id = id
        self.unanswered: dict[str, dict[str, Any]] = {}
        self.answers: list[dict[str, Any]] = []

    async def send(self, frame: dict[str, Any]) -> None:
        self.unanswered[frame["headers"]["messageId"]] = frame
        await self.socket.send_text(orjson.dumps(frame).decode())


class Streams:
    """The Stream server: tickets, connections that share the events, acknowledgement, redelivery."""

    def __init__(self, simulator: Any) -> None:
        self._simulator = simulator
        self._tickets: dict[str, float] = {}
        self._frames = 0
        self._turn = 0
        self.connections: list[Connection] = []
        self.waiting: deque[dict[str, Any]] = deque()
        self.acknowledged: list[str] = []  # event ids
        self.subscribed = False

    def open(self, body: dict[str, Any]) -> dict[str, Any]:
        """A ticket for one connection. Raises Denied."""
        gate = self._simulator.gate
        if body.get("clientId") != gate.client_id or body.get("clientSecret") != gate.client_secret:
            raise Denied("invalidClientIdOrSecret", "无效的clientId或者clientSecret")
        if not body.get("subscriptions"):
            raise Denied("invalidParameter", "subscriptions不能为空")
        ticket = secrets.token_urlsafe(24)
        self._tickets[ticket] = self._simulator.clock.monotonic() + _TICKET_LIFE
        self.subscribed = True
        base = str(self._simulator.base_url).replace("http", "ws", 1)
        return {"endpoint": f"{base}/connect", "ticket": ticket}

    def tickets(self) -> list[str]:
        return list(self._tickets)

    async def connect(self, socket: WebSocket) -> None:
        """Serve one connection until it ends; what it left unanswered goes to the next one."""
        ends = self._tickets.pop(socket.query_params.get("ticket", ""), 0.0)
        if ends <= self._simulator.clock.monotonic():
            await socket.close(4001)
            return
        await socket.accept()
        connection = Connection(socket, secrets.token_hex(8))
        self.connections.append(connection)
        try:
            await connection.send(self._frame("SYSTEM", "ping", '{"opaque":"0-1"}'))
            await self._flush()
            while True:
                await self._answered(connection, orjson.loads(await socket.receive_text()))
        except WebSocketDisconnect:
            self._simulator.counts["stream_closed"] += 1
        finally:
            self.connections.remove(connection)
            frames = connection.unanswered.values()
            self.waiting.extend(frame for frame in frames if frame["type"] != "SYSTEM")
            if self.connections:
                self._simulator.spawn(self._flush())

    async def _answered(self, connection: Connection, answer: dict[str, Any]) -> None:
        frame = connection.unanswered.pop(answer.get("headers", {}).get("messageId", ""), None)
        connection.answers.append(answer)
        if frame is None or frame["type"] == "SYSTEM":
            return
        if answer.get("code") == 200 and '"LATER"' not in str(answer.get("data")):
            self.acknowledged.append(frame["headers"]["eventId"])
            return
        self.waiting.append(frame)
        await self._flush()

    def push(self, event: dict[str, Any]) -> None:
        """Queue one event (the flat envelope of HTTP) for whoever is connected, now or later."""
        envelope = {"EventType", "EventTime", "CorpId", "BizId", "eventId"}
        data = orjson.dumps({name: value for name, value in event.items() if name not in envelope}).decode()
        frame = self._frame("EVENT", "*", data)
        frame["headers"] |= {
            "eventId": event["eventId"],
            "eventType": event["EventType"],
            "eventCorpId": event["CorpId"],
            "eventBornTime": str(event["EventTime"]),
        }
        self.waiting.append(frame)
        self._simulator.spawn(self._flush())

    async def disconnect(self, *, polite: bool = True) -> None:
        """End every connection, with the vendor's notice before it or without."""
        for connection in list(self.connections):
            if polite:
                await connection.send(self._frame("SYSTEM", "disconnect", '{"reason":"rebalance"}'))
            await connection.socket.close()

    async def _flush(self) -> None:
        while self.waiting and self.connections:
            frame = self.waiting.popleft()
            self._turn += 1
            connection = self.connections[self._turn % len(self.connections)]
            try:
                await connection.send(frame)
            except (WebSocketDisconnect, RuntimeError):
                return  # its frames come back when the connection is found closed

    def _frame(self, kind: str, topic: str, data: str) -> dict[str, Any]:
        self._frames += 1
        headers = {
            "appId": self._simulator.gate.client_id,
            "contentType": "application/json",
            "messageId": f"m{self._frames}",
            "time": str(self._simulator.clock.now()),
            "topic": topic,
        }
        return {"specVersion": "1.0", "type": kind, "headers": headers, "data": data}
