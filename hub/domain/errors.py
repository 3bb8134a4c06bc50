"""The tree of errors that the hub raises; every one tells what happened, where, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands; line and column count from 1."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what a person wrote: a plain sentence, its place, and the way out."""

    message: str
    place: Place | None = None
    hint: str | None = None
    rule: str | None = None
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        kind = "warning: " if self.warning else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{kind}{self.message}{hint}"


class HubError(Exception):
    """Root of the tree.

    `hint` is the next step for the person who reads it; the CLI prints both without a traceback
    and leaves with `exit_code`.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def said_by(system: str, error: HubError) -> HubError:
    """The same error, naming the system that it is about; once is enough."""
    if not error.message.startswith(f"{system}: "):
        error.message = f"{system}: {error.message}"
        error.args = (error.message,)
    return error


class InvalidInput(HubError):
    """What a person gave (a flag, a file, YAML) is wrong. `problems` lists all of it at once."""

    exit_code = 2

    def __init__(self, message: str, problems: list[Problem] | None = None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems or []

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])


class NotFound(HubError):
    """A flow, delivery, record or file by that name does not exist."""

    exit_code = 2


class Unreachable(HubError):
    """A system or the store did not answer. Nothing was executed."""

    exit_code = 3


class CredentialsRefused(HubError):
    """A system answered and refused who we are, or what we may do."""

    exit_code = 3


class StoreError(HubError):
    """The hub's own database can't be used: locked, full, of another version, of another tenant."""

    exit_code = 4


class WrongTenant(StoreError):
    """The system behind a name is not the one that the store knows."""


class VendorError(HubError):
    """A system answered a read in a way that can't be used. Retryable unless it says otherwise."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool = True,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.retryable = retryable
        self.retry_after = retry_after


class QuotaSpent(VendorError):
    """A vendor's quota is used up; `resumes_at` is epoch ms, `retry_after` seconds until it is worth a look."""

    def __init__(self, message: str, *, resumes_at: int, limit: str, retry_after: float | None = None) -> None:
        super().__init__(message, retryable=True, retry_after=retry_after)
        self.resumes_at = resumes_at
        self.limit = limit
