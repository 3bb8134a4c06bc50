"""Errors as RFC 9457 problem documents: what happened, what to do next, and nothing secret."""

from __future__ import annotations

import logging

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hub.api.access import NotAllowed
from hub.domain.errors import HubError, InvalidInput, NotFound, StoreError, Unreachable, VendorError

log = logging.getLogger("hub.api")

MEDIA_TYPE = "application/problem+json"

# The first that fits counts.
_STATUS: tuple[tuple[type[HubError], int], ...] = (
    (NotFound, 404),
    (InvalidInput, 422),
    (StoreError, 503),
    (Unreachable, 502),
    (VendorError, 502),
)


class Violation(BaseModel):
    """One thing that is wrong with what was sent."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None


class ProblemDocument(BaseModel):
    """The body of every error (`application/problem+json`). `kind` is the hub's own name for it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    kind: str
    hint: str | None = None
    exit_code: int = 1
    problems: list[Violation] = []


def document_of(error: HubError) -> ProblemDocument:
    """A HubError as the caller sees it."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 409)
    problems = error.problems if isinstance(error, InvalidInput) else []
    return ProblemDocument(
        title=_TITLES.get(status, "The hub can't do this now"),
        status=status,
        detail=error.message,
        kind=type(error).__name__,
        hint=error.hint,
        exit_code=error.exit_code,
        problems=[
            Violation(
                message=problem.message,
                file=problem.place.file if problem.place else None,
                line=problem.place.line if problem.place else None,
                column=problem.place.column if problem.place else None,
                hint=problem.hint,
            )
            for problem in problems
        ],
    )


_TITLES = {
    400: "Bad request",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "The hub can't do this now",
    422: "Something in the request is wrong",
    500: "A mistake inside the hub",
    502: "A system did not answer as it should",
    503: "The hub's store can't be used",
}


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(HubError)
    async def hub_error(request: Request, error: HubError) -> Response:
        return respond(document_of(error))

    @app.exception_handler(NotAllowed)
    async def not_allowed(request: Request, error: NotAllowed) -> Response:
        made = respond(_plain(error.status, error.detail, "NotAllowed"))
        if error.status == 401:
            made.headers["www-authenticate"] = "Bearer"
        return made

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        made = _plain(422, "The parameters can't be used.", "InvalidInput")
        made.exit_code = 2
        # The values are left out: they may be secret or personal.
        for detail in error.errors():
            where = ".".join(str(step) for step in detail["loc"][1:])
            made.problems.append(Violation(message=f"`{where}`: {detail['msg']}" if where else str(detail["msg"])))
        return respond(made)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return respond(_plain(error.status_code, str(error.detail), "HTTP"))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("a mistake in %s %s", request.method, request.url.path, exc_info=error)
        return respond(_plain(500, f"{type(error).__name__}; the hub's log has the details.", "Unexpected"))


def respond(document: ProblemDocument) -> Response:
    return Response(orjson.dumps(document.model_dump()), status_code=document.status, media_type=MEDIA_TYPE)


def _plain(status: int, detail: str, kind: str) -> ProblemDocument:
    return ProblemDocument(title=_TITLES.get(status, "Error"), status=status, detail=detail, kind=kind)
