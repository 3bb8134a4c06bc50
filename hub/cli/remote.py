"""Hands a command to the hub that runs, over its local API, and shows its progress here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import orjson

from hub.cli.session import who
from hub.domain.errors import HubError, InvalidInput, Place, Problem, Unreachable
from hub.runtime.operations import OPERATIONS
from hub.runtime.operations.operation import read_params
from hub.runtime.owner import Owner

_PREFIX = "/api/v1"
_LINES = "application/x-ndjson"


class Refused(HubError):
    """The running hub could not do it; it says why, and with which exit code to leave."""

    def __init__(self, message: str, *, hint: str | None, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def ask(owner: Owner, name: str, given: dict[str, Any], progress: Callable[[str, int, int | None], None]) -> Any:
    """Have the running hub do `name`; its result as JSON. Raises what it raised, as HubError."""
    operation = OPERATIONS.get(name)
    params = read_params(operation, given).model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    headers = {"authorization": f"Bearer {owner.token}", "x-hub-who": who()}
    if operation.long:
        headers["accept"] = _LINES
    body: dict[str, Any] = {"json": params} if operation.acts else {"params": params}
    method = "POST" if operation.acts else "GET"
    # Long work may be silent for as long as a vendor takes to answer.
    timeout = httpx.Timeout(30.0, read=None if operation.long else 60.0)
    try:
        with (
            httpx.Client(base_url=owner.api, timeout=timeout, trust_env=False, headers=headers) as client,
            client.stream(method, _PREFIX + operation.path, **body) as response,
        ):
            if response.headers.get("content-type", "").startswith(_LINES):
                return _follow(response, progress)
            answer = orjson.loads(response.read())
            if response.status_code >= 400:
                raise _error(answer)
            return answer
    except httpx.HTTPError as error:
        raise Unreachable(
            f"The running hub at {owner.api} does not answer: {error}.",
            hint="look at its log, or stop it and try again",
        ) from error


def _follow(response: httpx.Response, progress: Callable[[str, int, int | None], None]) -> Any:
    for line in response.iter_lines():
        message = orjson.loads(line)
        if "progress" in message:
            step = message["progress"]
            progress(step["what"], step["done"], step["total"])
        elif "error" in message:
            raise _error(message["error"])
        else:
            return message["result"]
    raise Unreachable("The running hub ended before the work was done.", hint="look at its log; nothing is lost")


def _error(document: dict[str, Any]) -> HubError:
    problems = [
        Problem(
            item["message"],
            Place(item["file"], item["line"] or 0, item["column"] or 0) if item.get("file") else None,
            hint=item.get("hint"),
        )
        for item in document.get("problems", [])
    ]
    message, hint = document.get("detail", "The running hub refused."), document.get("hint")
    if problems or document.get("kind") == "InvalidInput":
        return InvalidInput(message, problems, hint=hint)
    return Refused(message, hint=hint, exit_code=document.get("exit_code", 1))
