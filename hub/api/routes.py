"""The operations as routes: `deliveries.list` is `GET /api/v1/deliveries/list`, what acts is a POST."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from hub.api.access import Access, Caller, require
from hub.api.problems import ProblemDocument, document_of
from hub.domain.errors import HubError
from hub.runtime.hub import Hub
from hub.runtime.operations.operation import AnyOperation, Call, perform

PREFIX = "/api/v1"
LINES = "application/x-ndjson"

_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemDocument, "description": text}
    for code, text in {
        401: "No token, or one that is not known",
        403: "The role does not reach",
        404: "No such thing",
        422: "The parameters can't be used",
        503: "The hub's store can't be used",
    }.items()
}


def router(operations: Iterable[AnyOperation], hub: Hub, access: Access) -> APIRouter:
    """A route for each operation, guarded by its role."""
    made = APIRouter(prefix=PREFIX)
    for operation in operations:
        made.add_api_route(
            operation.path,
            _endpoint(operation, hub, access),
            methods=["POST" if operation.acts else "GET"],
            name=operation.name,
            operation_id=operation.name,
            summary=operation.help,
            description=f"Needs the role **{operation.role.value}**."
            + (f" With `Accept: {LINES}` it tells its progress, a JSON object a line." if operation.long else ""),
            tags=[operation.name.partition(".")[0] if "." in operation.name else "hub"],
            response_model=operation.result,
            responses=_ERRORS,
        )
    return made


def _endpoint(operation: AnyOperation, hub: Hub, access: Access) -> Callable[..., Any]:
    def allowed(request: Request) -> Caller:
        caller = access.caller(request)
        require(caller, operation.role)
        return caller

    async def endpoint(**given: Any) -> Any:
        request, params, caller = given["request"], given["params"], given["caller"]
        if operation.long and LINES in request.headers.get("accept", ""):
            return StreamingResponse(_lines(operation, hub, caller, params), media_type=LINES)
        result = await perform(operation, Call(hub, caller.name), params)
        # Validated when it was made: FastAPI need not do it again.
        return Response(result.model_dump_json(), media_type="application/json")

    source = Body() if operation.acts else Query()
    where = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature(
        [
            inspect.Parameter("request", where, annotation=Request),
            inspect.Parameter("params", where, annotation=Annotated[operation.params, source]),
            inspect.Parameter("caller", where, annotation=Annotated[Caller, Depends(allowed)]),
        ]
    )
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    endpoint.__name__ = operation.name.replace(".", "_")
    return endpoint


async def _lines(operation: AnyOperation, hub: Hub, caller: Caller, params: Any) -> AsyncIterator[bytes]:
    """Progress as it comes, then the result or the error. Who hangs up, cancels."""
    queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(maxsize=1000)

    def tell(what: str, done: int, total: int | None) -> None:
        if not queue.full():  # a watcher that does not keep up misses steps, never the result
            queue.put_nowait({"progress": {"what": what, "done": done, "total": total}})

    async def work() -> dict[str, Any]:
        try:
            result = await perform(operation, Call(hub, caller.name, tell), params)
        except HubError as error:
            return {"error": document_of(error).model_dump()}
        finally:
            await queue.put(None)
        return {"result": result.model_dump(mode="json")}

    task = asyncio.create_task(work())
    try:
        while (line := await queue.get()) is not None:
            yield orjson.dumps(line) + b"\n"
        yield orjson.dumps(await task) + b"\n"
    finally:
        task.cancel()
