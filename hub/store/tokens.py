"""Log-ins that the processes of one store share: sealed with a key that the database does not have."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr
from sqlalchemy import delete, func, select

from hub.connector.tokens import Token
from hub.domain.errors import StoreError
from hub.store import bulk
from hub.store.engine import Store
from hub.store.tables import token as table

log = logging.getLogger("hub.store")

_LOCK = 0x4C4F_4749  # 'LOGI': who logs in to one account takes turns


class StoredTokens:
    """A token cache in the store (see `TokenCache`).

    A token that this process knows is not asked for again: who finds it refused drops it, and then finds the one that
    another process has fetched meanwhile. A store that can't be asked costs a log-in, nothing more.
    """

    def __init__(self, store: Store, key: SecretStr) -> None:
        self._store = store
        digest = hashlib.sha256(b"crm-hub tokens\0" + key.get_secret_value().encode()).digest()
        self._seal = Fernet(base64.urlsafe_b64encode(digest))
        self._known: dict[str, Token] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, key: str) -> Token | None:
        known = self._known.get(key)
        if known is not None and (known.expires_at is None or self._store.clock.now() < known.expires_at):
            return known
        return await self._fetch(key)

    async def put(self, key: str, token: Token) -> None:
        self._known[key] = token
        row = (key, self._sealed(token), self._store.clock.now())
        try:
            async with self._store.begin() as conn:
                await bulk.upsert(conn, table, ("key",), ("key", "sealed", "changed"), [row])
        except StoreError as error:
            log.warning("a log-in could not be kept for the other processes: %s", error.message)

    async def drop(self, key: str, value: str) -> None:
        known = self._known.get(key)
        if known is not None and known.value == value:
            del self._known[key]
        try:
            async with self._store.begin() as conn:
                statement = select(table.c.sealed).where(table.c.key == key).with_for_update()
                held = self._opened((await conn.execute(statement)).scalar())
                if held is not None and held.value == value:
                    await conn.execute(delete(table).where(table.c.key == key))
        except StoreError as error:
            log.warning("a log-in that is over could not be taken out: %s", error.message)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            if self._store.dialect == "postgresql":
                await self._lock_for_all(held, key)
            self._known.pop(key, None)  # whoever had the lock before may have put a newer one
            yield

    async def _lock_for_all(self, held: AsyncExitStack, key: str) -> None:
        try:
            conn = await held.enter_async_context(self._store.read())
            await conn.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(key))))
        except StoreError as error:
            log.warning("the log-in to %s is made without asking the other processes: %s", key, error.message)

    async def _fetch(self, key: str) -> Token | None:
        try:
            async with self._store.read() as conn:
                sealed = (await conn.execute(select(table.c.sealed).where(table.c.key == key))).scalar()
        except StoreError as error:
            log.warning("the store does not say who is logged in: %s", error.message)
            return None
        found = self._opened(sealed)
        if found is not None:
            self._known[key] = found
        return found

    def _sealed(self, token: Token) -> str:
        body = {"value": token.value, "expires_at": token.expires_at, "extra": dict(token.extra)}
        return self._seal.encrypt(orjson.dumps(body)).decode()

    def _opened(self, sealed: str | None) -> Token | None:
        """None also for what was sealed with another key: a new log-in replaces it."""
        if sealed is None:
            return None
        try:
            body = orjson.loads(self._seal.decrypt(sealed.encode()))
        except InvalidToken:
            return None
        return Token(body["value"], body["expires_at"], body["extra"])
